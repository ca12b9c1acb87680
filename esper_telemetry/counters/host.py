"""The numpy twin: the same spec, calls and snapshots for data that is on the host already.

Arrays are copied when they are recorded, because environments reuse theirs; they are
counted at the flush. There is no device, so nothing ever waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from esper_telemetry.counters.layout import Part, layout_of
from esper_telemetry.counters.pending import Outbox, PendingSnapshot
from esper_telemetry.counters.snapshot import Snapshot, Tag
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from esper_telemetry.counters.spec import CounterSpec


class _Arrived:
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
    """A bank of counters for arrays.

    Args:
        spec: what is counted.
        slots: untaken snapshots before a flush is coalesced into the next one.
        rank: distributed rank to report.
        max_pending_bytes: memory the copies may take before they are counted early.
    """

    def __init__(
        self, spec: CounterSpec, *, slots: int = 2, rank: int = 0, max_pending_bytes: int = 32 * 1024 * 1024
    ) -> None:
        self.spec, self.rank, self.max_pending_bytes = spec, rank, max_pending_bytes
        self._layout = layout_of(spec)
        self._head_of = np.repeat(np.arange(len(spec.heads)), [len(options) for options in spec.heads.values()])
        self._local = np.concatenate([np.arange(len(options)) for options in spec.heads.values()] or [np.arange(0)])
        self._outbox = Outbox(slots)
        self._pending: dict[Part, list[tuple[NDArray[Any] | None, ...]]] = {}
        self._pending_bytes = 0
        self._values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in spec.value_names}
        self._coalesced = 0
        self._first_batch: int | None = None
        self._last_batch = 0
        self._reset()

    def _reset(self) -> None:
        values = len(self.spec.scalars)
        self._ints = np.zeros(self._layout.int_cells, dtype=np.int64)
        self._reals = np.concatenate([np.zeros(values), np.full(values, np.inf), np.full(values, -np.inf)])

    def record_step(
        self,
        actions: ArrayLike | Mapping[str, ArrayLike] | None,
        masks: ArrayLike | Mapping[str, ArrayLike] | None,
        success: ArrayLike | None = None,
        scalars: Mapping[str, ArrayLike] | None = None,
        **_context: object,
    ) -> None:
        """Record one step of B environments.

        Args:
            actions: integers: packed [B, H], or head → [B].
            masks: bool, True = valid: packed [B, S], or head → [B, K].
            success: bool [B]: the action took effect.
            scalars: name → number or [B], as if given to `record_scalar`.
            **_context: ignored; `DeviceCounters` takes it for step detail.

        Raises:
            CounterError: a shape is not what the spec asks for.
        """
        chosen = None if actions is None else self._packed("actions", actions, len(self.spec.heads))
        valid = None if masks is None else self._packed("masks", masks, self.spec.option_count).astype(np.bool_)
        took = None if success is None or actions is None else np.array(success, dtype=np.bool_)
        arrays = [array for array in (chosen, valid, took) if array is not None]
        if len({len(array) for array in arrays}) != 1:
            raise CounterError(f"record_step: shapes {[array.shape for array in arrays]} differ in their first size")
        part = Part(chosen is not None, valid is not None, took is not None)
        self._pending.setdefault(part, []).append((chosen, valid, took))
        self._pending_bytes += sum(array.nbytes for array in arrays)
        for name, value in (scalars or {}).items():
            self.record_scalar(name, value)
        if self._pending_bytes >= self.max_pending_bytes:
            self._fold()

    def record_actions(self, actions: ArrayLike | Mapping[str, ArrayLike], success: ArrayLike | None = None) -> None:
        """Record actions alone; see `record_step`."""
        self.record_step(actions, None, success)

    def record_masks(self, masks: ArrayLike | Mapping[str, ArrayLike]) -> None:
        """Record masks alone; see `record_step`."""
        self.record_step(None, masks)

    def record_scalar(self, name: str, value: ArrayLike) -> None:
        """Record a value of a scalar, a histogram or both: a number or [B].

        Raises:
            CounterError: the spec does not have it.
        """
        if name not in self._values:
            raise CounterError(f"scalar {name!r} is unknown; the spec has: {', '.join(self._values) or 'none'}")
        array = np.array(value, dtype=np.float64).reshape(-1)
        self._values[name].append(array)
        self._pending_bytes += array.nbytes
        if self._pending_bytes >= self.max_pending_bytes:
            self._fold()

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

    def _put(self) -> PendingSnapshot:
        first = self._last_batch if self._first_batch is None else self._first_batch
        tag = Tag(first, self._last_batch, self._coalesced, self.rank, "cpu")
        snapshot = Snapshot(self.spec, self._ints.tolist(), self._reals.tolist(), tag)
        self._first_batch, self._coalesced = None, 0
        self._reset()
        return self._outbox.put(PendingSnapshot(_Arrived(snapshot), tag))

    def _packed(self, what: str, part: ArrayLike | Mapping[str, ArrayLike], width: int) -> NDArray[Any]:
        """Return a copy of actions [B, H] or masks [B, S]."""
        if isinstance(part, dict):
            if set(part) != set(self.spec.heads):
                raise CounterError(f"{what}: heads are {', '.join(part)}; the spec has {', '.join(self.spec.heads)}")
            columns = [np.asarray(part[head]) for head in self.spec.heads]
            array = np.column_stack(columns)
        else:
            array = np.array(part)
        if array.ndim != 2 or array.shape[1] != width:  # noqa: PLR2004 - [B, width]
            raise CounterError(f"{what}: shape is {array.shape}; give [B, {width}], or a dict of head to array")
        return array

    def _fold(self) -> None:
        for part, steps in self._pending.items():
            self._fold_steps(part, steps)
        self._pending, self._pending_bytes = {}, 0
        for name, values in self._values.items():
            if values:
                self._fold_values(name, np.concatenate(values))
                self._values[name] = []

    def _fold_steps(self, part: Part, steps: list[tuple[NDArray[Any] | None, ...]]) -> None:
        actions, masks, success = (
            np.concatenate([array for array in arrays if array is not None]) if arrays[0] is not None else None
            for arrays in zip(*steps, strict=True)
        )
        layout, options, heads = self._layout, self.spec.option_count, len(self.spec.heads)
        rows = len(actions if actions is not None else masks)  # type: ignore[arg-type]  # one of them is given
        if actions is not None:
            chosen = actions[:, self._head_of] == self._local
            self._add(layout.chosen, chosen)
            if success is not None:
                self._add(layout.succeeded, chosen & success[:, None])
            if masks is not None:
                self._add(layout.chosen_valid, chosen & masks)
        if masks is not None:
            starts = list(self.spec.option_offsets.values())
            count = np.add.reduceat(masks, starts, axis=1, dtype=np.int64) if heads else np.zeros((rows, 0))
            sizes = np.array([len(names) for names in self.spec.heads.values()])
            self._ints[layout.valid : layout.valid + options] += masks.sum(0)
            self._add(layout.nonempty, count >= 1)
            self._add(layout.forced, count == 1)
            self._add(layout.free, count == sizes)
        self._ints[part.steps] += len(steps)
        self._ints[part.rows] += rows

    def _add(self, cell: int, flags: NDArray[np.bool_]) -> None:
        self._ints[cell : cell + flags.shape[1]] += flags.sum(0)

    def _fold_values(self, name: str, values: NDArray[np.float64]) -> None:
        layout, count = self._layout, len(self.spec.scalars)
        if name in self.spec.scalars:
            i = self.spec.scalars.index(name)
            finite = values[np.isfinite(values)]
            self._ints[layout.recorded + i] += len(values)
            self._ints[layout.finite + i] += len(finite)
            if len(finite):
                self._reals[i] += finite.sum()
                self._reals[count + i] = min(self._reals[count + i], finite.min())
                self._reals[2 * count + i] = max(self._reals[2 * count + i], finite.max())
        if name in self.spec.histograms:
            edges = self.spec.histograms[name]
            start = layout.buckets[list(self.spec.histograms).index(name)]
            below = [int((values < edge).sum()) for edge in edges]
            self._ints[start : start + len(edges) + 2] += np.array([len(values), *below, (~np.isnan(values)).sum()])
