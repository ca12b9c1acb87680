"""What tells misuse of a bank: wrong input at its first record, broken references later.

Holding references to step tensors is free, and wrong once somebody writes into them. So
the first windows (flush to flush) and then one in 64 are watched: a version counter per
tensor is kept and compared before the tensors are used. Nothing here touches a device.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor

from esper_telemetry.errors import CounterError
from esper_telemetry.schema import CONTEXT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.counters.spec import CounterSpec

_LOG = logging.getLogger("esper_telemetry.counters")

GuardMode: TypeAlias = Literal["auto", "always", "off"]
# A step: (actions, masks, success, scalars, context, time). A value: (name, tensor).
Entry: TypeAlias = tuple[Any, ...]
STEP_FIELDS = 6

# The least a device allocator gives to a tensor.
_LEAST_BYTES = 512
_FIRST_WINDOWS = 4
_THEN_ONE_IN = 64
_INTEGERS = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})


def tensors_of(entry: Entry) -> list[Tensor]:
    """Return every tensor of an entry, in the order of `names_of`."""
    if len(entry) != STEP_FIELDS:
        return [entry[1]]
    tensors: list[Tensor] = []
    for part in entry[:4]:
        if part is None:
            continue
        if isinstance(part, Tensor):
            tensors.append(part)
        else:
            tensors.extend(part.values())
    return tensors


def names_of(entry: Entry) -> list[str]:
    """Return what each tensor of an entry is, for messages."""
    if len(entry) != STEP_FIELDS:
        return [f"scalar {entry[0]!r}"]
    names: list[str] = []
    for part, whole, each in zip(
        entry,
        ("actions (packed)", "masks (packed)", "success", ""),
        ("actions of head", "masks of head", "", "scalar"),
        strict=False,
    ):
        if part is None:
            continue
        names += [whole] if isinstance(part, Tensor) else [f"{each} {key!r}" for key in part]
    return names


def check_entry(spec: CounterSpec, device: torch.device, entry: Entry) -> None:
    """Raise CounterError unless an entry has the form that `spec` and the bank's device ask for."""
    if len(entry) != STEP_FIELDS:
        _check_value(spec, device, *entry)
        return
    actions, masks, success, scalars, context, _ = entry
    heads = {head: len(options) for head, options in spec.heads.items()}
    batches: dict[str, int] = {}
    if actions is not None:
        columns = _parts("actions", actions, heads, len(heads), device, dtypes=_INTEGERS, by_option=False)
        batches |= {what: tensor.shape[0] for what, tensor in columns.items()}
    if masks is not None:
        columns = _parts("masks", masks, heads, spec.option_count, device, dtypes={torch.bool}, by_option=True)
        batches |= {what: tensor.shape[0] for what, tensor in columns.items()}
    if success is not None:
        _check_tensor("success", success, device, {torch.bool}, (None,))
        batches["success"] = success.shape[0]
        if actions is None:
            raise CounterError("success: given without actions; it says which actions took effect")
    if len(set(batches.values())) > 1:
        sizes = ", ".join(f"{what}: {size}" for what, size in batches.items())
        raise CounterError(f"record_step: the parts have different numbers of environments ({sizes})")
    for name, value in (scalars or {}).items():
        _check_value(spec, device, name, value)
    for name, value in context.items():
        numbers = [value] if isinstance(value, int) else value
        if name not in CONTEXT_FIELDS or not all(isinstance(number, int) for number in numbers):
            raise CounterError(
                f"record_step: {name}={value!r} is no integer field of the context, nor one integer for each"
                f" environment; its fields are {', '.join(sorted(CONTEXT_FIELDS))}"
            )


def _parts(
    what: str,
    part: Any,
    heads: dict[str, int],
    width: int,
    device: torch.device,
    *,
    dtypes: set[torch.dtype] | frozenset[torch.dtype],
    by_option: bool,
) -> dict[str, Tensor]:
    """Return the checked tensors of `actions` or `masks` by what they are."""
    if isinstance(part, Tensor):
        _check_tensor(f"{what} (packed)", part, device, dtypes, (None, width))
        return {what: part}
    if not hasattr(part, "items"):
        raise CounterError(f"{what}: {type(part).__name__} is neither a tensor nor a dict of head to tensor")
    if set(part) != set(heads):
        raise CounterError(f"{what}: heads are {', '.join(map(str, part))}; the spec has {', '.join(heads)}")
    named = {f"{what} of head {head!r}": tensor for head, tensor in part.items()}
    for head, tensor in part.items():
        shape = (None, heads[head]) if by_option else (None,)
        _check_tensor(f"{what} of head {head!r}", tensor, device, dtypes, shape)
    if len({tensor.dtype for tensor in named.values()}) > 1:
        raise CounterError(f"{what}: the heads have different dtypes; give all the same")
    return named


def _check_value(spec: CounterSpec, device: torch.device, name: str, value: Any) -> None:
    columns = spec.row.scalars if spec.row is not None else {}
    if name not in spec.value_names and name not in columns:
        names = ", ".join(dict.fromkeys((*spec.value_names, *columns))) or "none"
        raise CounterError(f"scalar {name!r} is unknown; the spec has: {names}")
    _check_tensor(f"scalar {name!r}", value, device, None, None)
    if value.is_complex():
        raise CounterError(f"scalar {name!r}: dtype is {value.dtype}; give a real number")


def _check_tensor(
    what: str,
    tensor: Any,
    device: torch.device,
    dtypes: set[torch.dtype] | frozenset[torch.dtype] | None,
    shape: tuple[int | None, ...] | None,
) -> None:
    if not isinstance(tensor, Tensor):
        raise CounterError(
            f"{what}: got a {type(tensor).__name__}; give a tensor on {device}, or use HostCounters for host data"
        )
    if dtypes is not None and tensor.dtype not in dtypes:
        wanted = "bool (True = valid)" if what.startswith("masks") else ", ".join(sorted(map(str, dtypes)))
        raise CounterError(f"{what}: dtype is {tensor.dtype}; give {wanted}")
    if shape is not None and (
        tensor.dim() != len(shape) or any(w not in (None, n) for w, n in zip(shape, tensor.shape, strict=True))
    ):
        wanted = ", ".join("B" if size is None else str(size) for size in shape)
        raise CounterError(f"{what}: shape is {tuple(tensor.shape)}; give [{wanted}]")
    if tensor.device.type != device.type or (device.index is not None and tensor.device.index != device.index):
        raise CounterError(f"{what}: it is on {tensor.device}, the bank on {device}; use one bank per device")


class Misuse:
    """Ledger of what was done wrong after the first record: counted, said once a kind, raised when strict."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.counts: Counter[str] = Counter()

    def note(self, kind: str, message: str) -> None:
        """Count `message` under `kind` and log the first of its kind; never raise, not even when strict."""
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            _LOG.warning("%s", message)

    def report(self, kind: str, message: str, *, level: int = logging.ERROR, count: int = 1) -> None:
        """Count `message` under `kind`; raise it when strict, else log the first of its kind."""
        first = kind not in self.counts
        self.counts[kind] += count
        if self.strict:
            raise CounterError(message)
        if first:
            _LOG.log(level, "%s", message)


class Guard:
    """Watches the tensors of some windows for writes after they were recorded.

    Args:
        mode: "auto" watches the first 4 windows and then 1 in 64; "always"; "off".
        misuse: where findings go.
    """

    def __init__(self, mode: GuardMode, misuse: Misuse) -> None:
        if mode not in ("auto", "always", "off"):
            raise CounterError(f"guard {mode!r} is unknown; use 'auto', 'always' or 'off'")
        self.mode = mode
        self.watching = mode != "off"
        self._misuse = misuse
        self._windows = 0
        self._versions: list[list[int | None]] = []
        self._owner: int | None = None

    def note(self, entry: Entry) -> None:
        """Remember the state of an entry's tensors, just recorded."""
        self._versions.append([version_of(tensor) for tensor in tensors_of(entry)])

    def owned(self, call: str) -> bool:
        """Tell whether this thread is the one that uses the bank: the first one is."""
        me = threading.get_ident()
        if self._owner is None:
            self._owner = me
        if self._owner == me:
            return True
        self._misuse.report(
            "thread",
            f"{call}: called from a second thread ({threading.current_thread().name}); a bank belongs to one thread,"
            " the one that trains. Take snapshots there and pass them on: they are plain values",
        )
        return False

    def next_window(self) -> None:
        """Begin a window: decide whether it is watched."""
        self._versions.clear()
        self._windows += 1
        if self.mode == "auto":
            self.watching = self._windows < _FIRST_WINDOWS or self._windows % _THEN_ONE_IN == 0

    def overwritten(self, entries: Sequence[Entry]) -> set[int]:
        """Return the numbers of the entries that were written into since they were noted.

        A buffer that two entries share is only warned of: its content may be constant, or
        the static output of a CUDA graph, whose replays no version counter shows.
        """
        spoiled: set[int] = set()
        owners: dict[tuple[Any, ...], int] = {}
        for number, (entry, versions) in enumerate(zip(entries, self._versions, strict=False)):
            role = entry[0] if len(entry) != STEP_FIELDS else ""
            for i, (tensor, version) in enumerate(zip(tensors_of(entry), versions, strict=True)):
                if version_of(tensor) != version:
                    spoiled.add(number)
                    self._report_write(names_of(entry)[i], number)
                    continue
                first = owners.setdefault((role, i, storage_of(tensor)), number)
                if first != number and tensor.numel():
                    self._report_shared(names_of(entry)[i], first, number)
        return spoiled

    def _report_write(self, what: str, number: int) -> None:
        self._misuse.report(
            "overwritten",
            f"{what} was written in place after record {number} of this window and before the flush. That record is"
            " left out, and from here on the bank copies what it is given; better give each step a tensor of its own,"
            " or use mode='inline'",
        )

    def _report_shared(self, what: str, first: int, number: int) -> None:
        self._misuse.report(
            "shared",
            f"{what}: records {first} and {number} of this window are the same memory. A static buffer (of a CUDA graph"
            " or an environment)? Then use mode='inline' or clone it; if it never changes, all is well",
            level=logging.WARNING,
        )


def version_of(tensor: Tensor) -> int | None:
    """Return how often `tensor` was written in place; None for an inference tensor, which does not count."""
    try:
        return tensor._version  # noqa: SLF001 - torch documents no public name
    except RuntimeError:
        return None


def storage_of(tensor: Tensor) -> int:
    """Return what tells one tensor's memory from another's."""
    try:
        return tensor.data_ptr() or id(tensor)
    except RuntimeError:  # a wrapper without storage
        return id(tensor)


def bytes_of(entry: Entry) -> int:
    """Return the memory an entry keeps alive."""
    return sum([max(_LEAST_BYTES, tensor.nbytes) for tensor in tensors_of(entry)])


def clone_of(entry: Entry) -> Entry:
    """Return `entry` with every tensor copied: a launch for each."""
    if len(entry) != STEP_FIELDS:
        return entry[0], entry[1].clone()
    parts = [
        {head: tensor.clone() for head, tensor in part.items()}
        if hasattr(part, "items")
        else part.clone()
        if part is not None
        else None
        for part in entry[:4]
    ]
    return (*parts, *entry[4:])
