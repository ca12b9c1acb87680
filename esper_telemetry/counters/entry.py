"""One record of a bank: what it holds, what it keeps alive, and whether it is what the spec asks for.

An entry is a plain tuple, because building one is the whole cost of recording a step. Nothing
here touches a device: shapes, dtypes and addresses are known to the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from esper_telemetry.errors import CounterError
from esper_telemetry.schema import CONTEXT_FIELDS

if TYPE_CHECKING:
    from esper_telemetry.counters.spec import CounterSpec

# A step: (actions, masks, success, scalars, context, time). A value: (name, tensor).
Entry: TypeAlias = tuple[Any, ...]
STEP_FIELDS = 6

# The least a device allocator gives to a tensor.
_LEAST_BYTES = 512
_INTEGERS = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})


def parts_of(entry: Entry) -> list[Any]:
    """Return every value of an entry that should be a tensor, in the order of `names_of`."""
    if len(entry) != STEP_FIELDS:
        return [entry[1]]
    found: list[Any] = []
    for part in entry[:4]:
        if isinstance(part, Tensor):
            found.append(part)
        elif part is not None:
            found.extend(part.values() if hasattr(part, "values") else [part])
    return found


def names_of(entry: Entry) -> list[str]:
    """Return what each value of `parts_of` is, for messages."""
    if len(entry) != STEP_FIELDS:
        return [f"scalar {entry[0]!r}"]
    wholes = ("actions (packed)", "masks (packed)", "success", "scalars")
    singles = ("actions of head", "masks of head", "success", "scalar")
    names: list[str] = []
    for part, whole, single in zip(entry, wholes, singles, strict=False):
        if part is not None:
            names += (
                [f"{single} {key!r}" for key in part] if hasattr(part, "values") and hasattr(part, "keys") else [whole]
            )
    return names


def bytes_of(entry: Entry) -> int:
    """Return the memory an entry keeps alive."""
    return sum([max(_LEAST_BYTES, getattr(part, "nbytes", 0)) for part in parts_of(entry)])


def clone_of(entry: Entry) -> Entry:
    """Return `entry` with every tensor copied: a launch for each."""
    if len(entry) != STEP_FIELDS:
        return entry[0], _clone(entry[1])
    return (*map(_clone, entry[:4]), *entry[4:])


def _clone(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.clone()
    return {key: _clone(value) for key, value in part.items()} if hasattr(part, "items") else part


def detached(value: Any) -> Any:
    """Return a tensor, or a dict of them, without graph; anything else is left for the check of its form."""
    if hasattr(value, "items"):
        return {name: detached(one) for name, one in value.items()}
    return value.detach() if getattr(value, "requires_grad", False) else value


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
    _check_more(spec, device, scalars, context)


def _check_more(spec: CounterSpec, device: torch.device, scalars: Any, context: dict[str, Any]) -> None:
    """Check what comes with a step beside its decisions."""
    if scalars is not None and not hasattr(scalars, "items"):
        raise CounterError(f"scalars: got a {type(scalars).__name__}; give a dict of name to tensor")
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
