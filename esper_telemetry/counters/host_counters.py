"""The numpy twin: the same spec, calls, checks and snapshots for data that is on the host already.

Arrays are copied when they are recorded, because environments reuse theirs; they are
counted at the flush. There is no device, so nothing ever waits. What a record may look
like is judged by the same rules as on a device (`forms`); a numpy masked array with masked
places is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from esper_telemetry.counters.cells import (
    INVALID_ROWS,
    LEFT_OUT,
    MISUSE,
    MISUSES,
    VALUES_LEFT_OUT,
    GivenParts,
    layout_of,
)
from esper_telemetry.counters.forms import Facts, Given, Shape, check_context, check_step, check_value, is_one_hot
from esper_telemetry.counters.misuse import Misuse
from esper_telemetry.counters.pending import Outbox, PendingSnapshot
from esper_telemetry.counters.snapshot import Snapshot, Tag
from esper_telemetry.counters.summaries import Moments, joined_moments
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from esper_telemetry.counters.spec import CounterSpec

# A record: actions [B, H], masks [B, S], success [B] and valid [B]; None where not given.
_Kept = tuple["NDArray[Any] | None", ...]


class _ReadAtOnce:
    """A readback that is done: the value is on the host."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def done(self) -> bool:
        return True

    def wait(self) -> None:
        """Return at once."""

    def read(self) -> Snapshot:
        return self._snapshot


class HostCounters:
    """A bank of counters for arrays, for one thread.

    Args:
        spec: what is counted.
        slots: untaken snapshots before a flush is coalesced into the next one.
        rank: distributed rank to report.
        max_pending_bytes: memory the copies may take before they are counted early.
        strict: raise on any misuse. Otherwise only a first record raises, and later misuse is counted in `misuse` and
            logged once a kind.

    Attributes:
        misuse: kind → how often.
    """

    def __init__(
        self,
        spec: CounterSpec,
        *,
        slots: int = 2,
        rank: int = 0,
        max_pending_bytes: int = 32 * 1024 * 1024,
        strict: bool = False,
    ) -> None:
        self.spec, self.rank, self.max_pending_bytes = spec, rank, max_pending_bytes
        self._misuse = Misuse(strict=strict)
        self.misuse = self._misuse.counts
        self._layout = layout_of(spec)
        self._head_of = np.repeat(np.arange(len(spec.heads)), [len(options) for options in spec.heads.values()])
        self._local = np.concatenate([np.arange(len(options)) for options in spec.heads.values()] or [np.arange(0)])
        self._outbox = Outbox(slots)
        self._pending: dict[tuple[GivenParts, bool], list[_Kept]] = {}
        self._pending_bytes = 0
        self._values: dict[str, list[_Kept]] = {name: [] for name in spec.value_names}
        self._steps_begun = self._values_begun = False
        self._coalesced = 0
        self._first_batch: int | None = None
        self._last_batch = 0
        self._reset()

    def _reset(self) -> None:
        self._ints = np.zeros(self._layout.int_cells, dtype=np.int64)
        empty = np.array([0.0, 0.0, 0.0, np.inf, -np.inf])
        self._reals = np.repeat(empty[:, None], len(self.spec.scalars), axis=1)  # rows as in `CellLayout`

    def record_step(
        self,
        actions: ArrayLike | Mapping[str, ArrayLike] | None,
        masks: ArrayLike | Mapping[str, ArrayLike] | None,
        success: ArrayLike | None = None,
        scalars: Mapping[str, ArrayLike] | None = None,
        *,
        valid: ArrayLike | None = None,
        **context: object,
    ) -> None:
        """Record one step of B environments; the arguments are those of `DeviceCounters.record_step`.

        Args:
            actions: integers: packed [B, H], or head → [B]; with one head [B] too. One-hot: packed [B, S], or
                head → [B, K].
            masks: bool, True = valid (or integers, 1 = valid): packed [B, S], or head → [B, K].
            success: bool [B]: the action took effect.
            scalars: name → number or [B], as if given to `record_scalar`.
            valid: bool [B]: False where the row was no decision; it counts in `invalid_rows` only, and so do its
                scalars of shape [B].
            **context: fields of the context, checked and else ignored; `DeviceCounters` takes them for step detail.

        Raises:
            CounterError: the bank's first step is not what the spec asks for; later ones raise if it is strict.
        """
        try:
            rows = self._check_step(actions, masks, success, valid)
        except CounterError as error:
            self._refuse(error, LEFT_OUT, rows_of(masks if actions is None else actions), begun=self._steps_begun)
            return
        try:
            check_context(context)
        except CounterError as error:
            self._refuse(error, LEFT_OUT, 0, begun=self._steps_begun)  # the step itself is right
        self._steps_begun = True
        if actions is not None or masks is not None:
            self._keep(actions, masks, success, valid)
        for name, value in (scalars or {}).items():
            self.record_scalar(name, value, valid if valid is not None and np.shape(value) == (rows,) else None)
        self._bound_memory()

    def record_actions(
        self,
        actions: ArrayLike | Mapping[str, ArrayLike],
        success: ArrayLike | None = None,
        *,
        valid: ArrayLike | None = None,
    ) -> None:
        """Record actions alone; see `record_step`."""
        self.record_step(actions, None, success, valid=valid)

    def record_masks(self, masks: ArrayLike | Mapping[str, ArrayLike], *, valid: ArrayLike | None = None) -> None:
        """Record masks alone; see `record_step`."""
        self.record_step(None, masks, valid=valid)

    def record_scalar(self, name: str, value: ArrayLike, weight: ArrayLike | None = None) -> None:
        """Record a value of a scalar, a histogram or both: a number or [B], with weights of its shape or 0-d.

        Raises:
            CounterError: the bank's first value is of a name that the spec does not have, or no number; later ones
                raise if it is strict.
        """
        try:
            facts = facts_of(f"scalar {name!r}", value)
            of_weight = None if weight is None else facts_of(f"weight of scalar {name!r}", weight)
            check_value(self.spec, name, facts, of_weight)
        except CounterError as error:
            self._refuse(error, VALUES_LEFT_OUT, rows_of(value), begun=self._values_begun)
            return
        self._values_begun = True
        if name not in self._values:
            return  # a column of step detail, which this bank does not keep
        array = np.array(value, dtype=np.float64)
        weights = np.array(np.broadcast_to(1.0 if weight is None else np.asarray(weight, np.float64), array.shape))
        self._values[name].append((array.reshape(-1), weights.reshape(-1)))
        self._pending_bytes += 2 * array.nbytes
        self._bound_memory()

    def flush(self, *, batch_idx: int) -> PendingSnapshot | None:
        """Return the snapshot of everything recorded, and begin anew; None when it is coalesced with the next."""
        self._fold()
        self._last_batch = batch_idx
        self._first_batch = batch_idx if self._first_batch is None else self._first_batch
        if self._outbox.full:
            self._coalesced += 1
            return None
        return self._put()

    def poll(self) -> list[Snapshot]:
        """Take the snapshots that were not taken, oldest first."""
        return self._outbox.poll()

    def close(self, timeout: float = 5.0) -> list[Snapshot]:  # noqa: ARG002 - the call of DeviceCounters
        """Take the rest, what was recorded since the last flush included."""
        self._fold()
        if self._coalesced:
            self._coalesced -= 1
        else:
            self._last_batch += 1
        self._put()
        return [snapshot for snapshot in self._outbox.poll() if any(snapshot.ints)]

    def _check_step(self, actions: Any, masks: Any, success: Any, valid: Any) -> int:
        given = Shape(
            given_of("actions", actions),
            given_of("masks", masks),
            None if success is None else facts_of("success", success),
            None if valid is None else facts_of("valid", valid),
        )
        return check_step(self.spec, given)

    def _refuse(self, error: CounterError, cell: int, count: int, *, begun: bool) -> None:
        """Count a record that does not fit as left out; raise where it is the first of its kind."""
        if not begun:
            raise error
        self._ints[cell] += count
        self._misuse.report("misfit", str(error))

    def _keep(self, actions: Any, masks: Any, success: Any, valid: Any) -> None:
        kept = (
            None if actions is None else index_columns(self.spec, actions),
            None if masks is None else mask_columns(self.spec, masks),
            None if success is None else np.array(success),
            None if valid is None else np.array(valid),
        )
        part = GivenParts(actions is not None, masks is not None, success is not None)
        self._pending.setdefault((part, valid is not None), []).append(kept)
        self._pending_bytes += sum(array.nbytes for array in kept if array is not None)

    def _bound_memory(self) -> None:
        if self._pending_bytes >= self.max_pending_bytes:
            self._fold()

    def _put(self) -> PendingSnapshot:
        for kind, count in self._misuse.take().items():
            self._ints[MISUSE + MISUSES.index(kind)] += count
        first = self._last_batch if self._first_batch is None else self._first_batch
        tag = Tag(first, self._last_batch, self._coalesced, self.rank, "cpu")
        snapshot = Snapshot(self.spec, self._ints.tolist(), self._reals.reshape(-1).tolist(), tag)
        self._first_batch, self._coalesced = None, 0
        self._reset()
        return self._outbox.put(PendingSnapshot(_ReadAtOnce(snapshot), tag))

    def _fold(self) -> None:
        pending, self._pending, self._pending_bytes = self._pending, {}, 0
        for (part, _), steps in pending.items():
            joined = [None if column[0] is None else np.concatenate(column) for column in zip(*steps, strict=True)]
            self._fold_steps(part, len(steps), joined)
        for name, values in self._values.items():
            if values:
                self._values[name] = []
                self._fold_values(name, *map(np.concatenate, zip(*values, strict=True)))

    def _fold_steps(
        self,
        part: GivenParts,
        steps: int,
        joined: Sequence[NDArray[Any] | None],
    ) -> None:
        actions, masks, success, valid = joined
        if valid is not None:
            self._ints[INVALID_ROWS] += len(valid) - valid.sum()
            actions, masks, success = (None if one is None else one[valid] for one in joined[:3])
        layout = self._layout
        if actions is not None:
            chosen = actions[:, self._head_of] == self._local
            self._add(layout.chosen, chosen)
            if success is not None:
                self._add(layout.succeeded, chosen & success[:, None])
            if masks is not None:
                self._add(layout.chosen_valid, chosen & masks)
        if masks is not None:
            self._fold_masks(masks)
        self._ints[part.steps] += steps
        self._ints[part.rows] += len(actions if actions is not None else masks)  # type: ignore[arg-type]  # one is given

    def _fold_masks(self, masks: NDArray[np.bool_]) -> None:
        layout = self._layout
        starts = list(self.spec.option_offsets.values())
        empty = np.zeros((len(masks), 0), dtype=np.int64)
        count = np.add.reduceat(masks, starts, axis=1, dtype=np.int64) if starts else empty
        self._add(layout.valid, masks)
        self._add(layout.nonempty, count >= 1)
        self._add(layout.forced, count == 1)
        self._add(layout.free, count == np.array([len(names) for names in self.spec.heads.values()]))

    def _add(self, cell: int, flags: NDArray[np.bool_]) -> None:
        self._ints[cell : cell + flags.shape[1]] += flags.sum(0)

    def _fold_values(self, name: str, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        layout = self._layout
        if name in self.spec.scalars:
            i = self.spec.scalars.index(name)
            count, finite, (*moments, low, high) = moments_of(values, weights)
            self._ints[layout.recorded + i] += count
            self._ints[layout.finite + i] += finite
            self._reals[:3, i] = joined_moments([Moments(*self._reals[:3, i].tolist()), Moments(*moments)])
            self._reals[3, i], self._reals[4, i] = min(self._reals[3, i], low), max(self._reals[4, i], high)
        if name in self.spec.histograms:
            edges = self.spec.histograms[name]
            start = layout.buckets[list(self.spec.histograms).index(name)]
            used = values[weights != 0.0]
            below = [int((used < edge).sum()) for edge in edges]
            self._ints[start : start + len(edges) + 2] += np.array([len(used), *below, (~np.isnan(used)).sum()])


_KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float"}


def facts_of(what: str, value: ArrayLike) -> Facts:
    """Return the facts of anything that numpy makes an array of.

    Raises:
        CounterError: it makes none, or places of it are masked.
    """
    if type(value).__module__.partition(".")[0] == "torch":
        raise CounterError(f"{what}: got a {type(value).__name__}; give an array, or use DeviceCounters for tensors")
    _refuse_masked(what, value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise CounterError(f"{what}: got a {type(value).__name__}, of which numpy makes no array: {error}") from None
    return Facts(_KINDS.get(array.dtype.kind, "other"), str(array.dtype), array.shape)


def _refuse_masked(what: str, value: ArrayLike) -> None:
    """Raise CounterError where places of a numpy masked array are masked: `asarray` would count what lies below."""
    if type(value) is np.ndarray or not isinstance(value, np.ma.MaskedArray):
        return
    if hidden := int(np.sum(value.mask)):
        raise CounterError(
            f"{what}: {hidden} of {value.size} places of a numpy masked array are masked, which is no number; fill them"
            " (`.filled(0)`) and leave their rows out with `valid`, or values out with the weight 0"
        )


def given_of(what: str, part: ArrayLike | Mapping[str, ArrayLike] | None) -> Given | None:
    """Return the facts of actions or masks; None where they were not given."""
    if part is None:
        return None
    if isinstance(part, Mapping):
        return {head: facts_of(f"{what} of head {head!r}", one) for head, one in part.items()}
    return facts_of(f"{what} (packed)", part)


def rows_of(part: Any) -> int:
    """Return how many rows something that does not fit seems to have."""
    first = next(iter(part.values()), None) if isinstance(part, Mapping) else part
    try:
        return max(1, len(first))  # type: ignore[arg-type]  # what has no length is caught
    except TypeError:
        return 1


def index_columns(spec: CounterSpec, part: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[np.int64]:
    """Return the numbers of the options chosen, from 0 in each head: [rows, H]; another number is no option."""
    sizes = [len(options) for options in spec.heads.values()]
    if isinstance(part, Mapping):
        columns = [np.asarray(part[head]) for head in spec.heads]
    else:
        packed = np.asarray(part)
        one_hot = packed.ndim > 1 and packed.shape[1] == sum(sizes) > len(sizes)
        packed = packed[:, None] if packed.ndim == 1 else packed
        columns = np.split(packed, np.cumsum(sizes)[:-1], axis=1) if one_hot else list(packed.T)
    firsts = [spec.first.get(head, 0) for head in spec.heads]
    numbers = [_numbers(*each) for each in zip(columns, sizes, firsts, strict=True)]
    return np.stack(numbers, axis=1) if numbers else np.zeros((0, 0), dtype=np.int64)


def _numbers(column: NDArray[Any], options: int, first: int) -> NDArray[np.int64]:
    if is_one_hot(Facts("", "", column.shape), options):
        chosen = column != 0
        return np.where(chosen.sum(1) == 1, chosen.argmax(1), -1)
    if column.dtype == np.uint64:  # what is over the range of int64 is no option
        column = np.minimum(column, np.iinfo(np.int64).max)
    return column.reshape(-1).astype(np.int64) - first


def mask_columns(spec: CounterSpec, part: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[np.bool_]:
    """Return the masks as a new bool array [rows, S]."""
    if not spec.heads and isinstance(part, Mapping):
        return np.zeros((0, 0), dtype=np.bool_)  # numpy joins one array at least
    if isinstance(part, Mapping):
        packed = np.concatenate([np.asarray(part[head]) for head in spec.heads], axis=1)
    else:
        packed = np.asarray(part)
        packed = packed.reshape(len(packed), -1)
    return packed.copy() if packed.dtype == np.bool_ else packed == 1


def moments_of(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[int, int, list[float]]:
    """Return how many values count, how many of them are finite, and (weight, sum, squares, min, max) of these."""
    used = weights != 0.0
    finite = used & np.isfinite(values)
    some, weight = values[finite], weights[finite]
    total_weight = float(weight.sum())
    if not len(some):
        return int(used.sum()), 0, [0.0, 0.0, 0.0, np.inf, -np.inf]
    with np.errstate(all="ignore"):
        total = float((some * weight).sum())
        apart = some - total / total_weight
        squares = float((apart * apart * weight).sum())
    return int(used.sum()), len(some), [total_weight, total, squares, float(some.min()), float(some.max())]
