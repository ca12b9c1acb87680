"""One record of a bank: what it holds, what it keeps alive, and whether it is what the spec asks for.

An entry is a plain tuple, because one is built for each step on a device. Nothing
here touches a device: shapes, dtypes and addresses are known to the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from esper_telemetry.counters.forms import Facts, Given, Shape, check_context, check_step, check_value
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esper_telemetry.counters.spec import CounterSpec

# A step: (actions, masks, success, valid, scalars, context, time). A value: (name, tensor, weight).
Entry: TypeAlias = tuple[Any, ...]
STEP_FIELDS = 7
DECISION_FIELDS = 4
TENSOR_FIELDS = 5


class Steps(NamedTuple):
    """What step detail asks of steps that are folded together.

    Attributes:
        contexts: of each.
        times: of each, wall clock in ns.
        scalars: of each, or of all as columns in one; None where they have none.
    """

    contexts: Sequence[Mapping[str, Any]]
    times: Sequence[int]
    scalars: Sequence[Any]


# The least a device allocator gives to a tensor.
_LEAST_BYTES = 512
_INTEGERS = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})


def parts_of(entry: Entry) -> list[Any]:
    """Return every value of an entry that should be a tensor, in the order of `names_of`."""
    found: list[Any] = []
    for part in entry[:TENSOR_FIELDS] if len(entry) == STEP_FIELDS else entry[1:]:
        if isinstance(part, Tensor):
            found.append(part)
        elif part is not None:
            found.extend(part.values() if hasattr(part, "values") else [part])
    return found


def names_of(entry: Entry) -> list[str]:
    """Return what each value of `parts_of` is, for messages and to tell their roles apart."""
    if len(entry) != STEP_FIELDS:
        return [f"scalar {entry[0]!r}", f"weight of scalar {entry[0]!r}"][: len(parts_of(entry))]
    wholes = ("actions (packed)", "masks (packed)", "success", "valid", "scalars")
    singles = ("actions of head", "masks of head", "success", "valid", "scalar")
    names: list[str] = []
    for part, whole, single in zip(entry, wholes, singles, strict=False):
        if part is not None:
            names += (
                [f"{single} {key!r}" for key in part] if hasattr(part, "values") and hasattr(part, "keys") else [whole]
            )
    return names


def rebuilt(entry: Entry, parts: Sequence[Any]) -> Entry:
    """Return `entry` with other values in the places of `parts_of`."""
    new = iter(parts)
    if len(entry) == STEP_FIELDS and type(entry[0]) is type(entry[1]) is Tensor and entry[4] is None:  # most are
        _, _, success, valid, *rest = entry
        return (
            next(new),
            next(new),
            success if success is None else next(new),
            valid if valid is None else next(new),
            *rest,
        )
    fields = entry[:TENSOR_FIELDS] if len(entry) == STEP_FIELDS else entry[1:]
    filled = [
        None if part is None else next(new) if not hasattr(part, "keys") else {key: next(new) for key in part}
        for part in fields
    ]
    return (*filled, *entry[TENSOR_FIELDS:]) if len(entry) == STEP_FIELDS else (entry[0], *filled)


def bytes_of(entry: Entry) -> int:
    """Return the memory an entry keeps alive."""
    return sum([max(_LEAST_BYTES, getattr(part, "nbytes", 0)) for part in parts_of(entry)])


def size_of(entry: Entry) -> int:
    """Return how many decisions an entry has, or values; 1 where that is not known."""
    part = next((part for part in parts_of(entry) if isinstance(part, Tensor)), None)
    if part is None:
        return 1
    return part.numel() if len(entry) != STEP_FIELDS else (part.shape[0] if part.dim() else 1)


def detached(value: Any) -> Any:
    """Return a tensor, or a dict of them, without graph; anything else is left for the check of its form."""
    if hasattr(value, "items"):
        return {name: detached(one) for name, one in value.items()}
    return value.detach() if getattr(value, "requires_grad", False) else value


def copied(entry: Entry) -> Entry:
    """Return an entry with copies of its tensors; what is none is left for the check of its form."""
    return rebuilt(entry, [one.clone() if isinstance(one, Tensor) else one for one in parts_of(entry)])


def signature_of(entry: Entry) -> tuple[Any, ...]:
    """Return what decides whether the decisions of a step, or a value, fit: equal signatures, equal judgement.

    No value is read.

    Raises:
        AttributeError: something is no tensor.
    """
    found: list[Any] = []
    for part in entry[:DECISION_FIELDS] if len(entry) == STEP_FIELDS else entry:
        if isinstance(part, Tensor):
            found += (part.dtype, part.shape, part.device)
        elif part is None or isinstance(part, str):
            found.append(part)
        else:
            for key, one in part.items():
                found += (key, one.dtype, one.shape, one.device)
            found.append(len(part))
    return tuple(found)


def check_entry(spec: CounterSpec, device: torch.device, entry: Entry) -> None:
    """Raise CounterError unless an entry has in every part the form that `spec` and the bank's device ask for."""
    check_counted(spec, device, entry)
    if len(entry) == STEP_FIELDS:
        for value in values_of(entry):
            check_counted(spec, device, value)
        check_context(entry[5])


def check_counted(spec: CounterSpec, device: torch.device, entry: Entry) -> None:
    """Raise CounterError unless the decisions of a step, or a value, have such a form."""
    if len(entry) != STEP_FIELDS:
        name, value, weight = entry
        facts = _facts(f"scalar {name!r}", value, device)
        check_value(spec, name, facts, _maybe(f"weight of scalar {name!r}", weight, device))
        return
    actions, masks, success, valid, *_ = entry
    given = Shape(
        _given("actions", actions, device),
        _given("masks", masks, device),
        _maybe("success", success, device),
        _maybe("valid", valid, device),
    )
    check_step(spec, given)


def values_of(step: Entry) -> list[Entry]:
    """Return the scalars of a step as values: those with one for each row count where the row does.

    Raises:
        CounterError: they are no dict.
    """
    valid, scalars = step[3], step[4]
    if scalars is None:
        return []
    if not hasattr(scalars, "items"):
        raise CounterError(f"scalars: got a {type(scalars).__name__}; give a dict of name to tensor")
    return [(name, value, valid if _same_shape(value, valid) else None) for name, value in scalars.items()]


def _same_shape(value: Any, valid: Any) -> bool:
    return isinstance(valid, Tensor) and isinstance(value, Tensor) and value.shape == valid.shape


def _maybe(what: str, part: Any, device: torch.device) -> Facts | None:
    return None if part is None else _facts(what, part, device)


def _given(what: str, part: Any, device: torch.device) -> Given | None:
    if part is None:
        return None
    if isinstance(part, Tensor):
        return _facts(f"{what} (packed)", part, device)
    if not hasattr(part, "items"):
        raise CounterError(f"{what}: {type(part).__name__} is neither a tensor nor a dict of head to tensor")
    return {head: _facts(f"{what} of head {head!r}", one, device) for head, one in part.items()}


def _facts(what: str, tensor: Any, device: torch.device) -> Facts:
    if not isinstance(tensor, Tensor):
        raise CounterError(
            f"{what}: got a {type(tensor).__name__}; give a tensor on {device}, or use HostCounters for host data"
        )
    if tensor.device.type != device.type or (device.index is not None and tensor.device.index != device.index):
        raise CounterError(f"{what}: it is on {tensor.device}, the bank on {device}; use one bank per device")
    if tensor.layout != torch.strided or tensor.is_quantized:
        return Facts("other", f"{tensor.layout} {tensor.dtype}", tuple(tensor.shape))
    return Facts(_kind(tensor.dtype), str(tensor.dtype), tuple(tensor.shape))


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "bool"
    if dtype in _INTEGERS:
        return "int"
    return "float" if dtype.is_floating_point else "other"
