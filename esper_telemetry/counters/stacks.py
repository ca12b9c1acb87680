"""Records on the host: copied at the call, one below the other, and so already joined.

On the host nothing is asynchronous: what a record holds is in memory at its call. Copied then, it
needs no watching, is never in doubt, whatever owns its memory, and is joined before the fold. A
copy is a move of memory and no operation of torch. What is on a device is kept by `references`.

A record is compared with the first one of its stack by torch's own guards of tensors, one call
for all of its parts: type, dispatch keys, dtype, device, sizes and strides. Where they differ (or this torch
has no such guards) each part is asked. Memory is kept for the next window: a first touch of it
would cost more than the copy.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from esper_telemetry.counters.entry import (
    DECISION_FIELDS,
    Entry,
    check_counted,
    values_of,
)
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esper_telemetry.counters.spec import CounterSpec

# Forms of one kind for which memory is kept from window to window; batches of every size would fill it for ever.
_FORMS = 4
_FIRST_BYTES = 64 * 1024
# Guards that a stack may make: the same form comes with other dispatch keys under inference mode, or needs gradients.
_GUARDS = 8

# The memory of this process by address. Moving a slice of it takes half the time of a call of ctypes.memmove.
_MEMORY = memoryview((ctypes.c_char * sys.maxsize).from_address(0)).cast("B")

# What a field of a record is: not given, a tensor, or a tuple of the keys of a dict.
_ABSENT, _TENSOR = None, ""


def structure_of(fields: Sequence[Any]) -> tuple[Any, ...]:
    """Return what each field of a record is: None, "" for a tensor, or the keys of a dict."""
    return tuple([_ABSENT if field is None else tuple(field) if type(field) is dict else _TENSOR for field in fields])


def flat(fields: Sequence[Any], structure: Sequence[Any]) -> list[Any] | None:
    """Return the tensors of a record in order; None if it has another structure."""
    found: list[Any] = []
    for field, keys in zip(fields, structure, strict=True):
        if keys is _ABSENT or field is None:
            if field is not keys:
                return None
        elif keys is _TENSOR:
            found.append(field)
        elif type(field) is dict and tuple(field) == keys:
            found += field.values()
        else:
            return None
    return found


class Stack:
    """Copies of records of one form.

    Args:
        fields: of the first: actions, masks, success, valid and scalars of a step; value and weight of a value.
        kind: None for a step, the name for a value.

    Attributes:
        packed: its records are actions, masks and success in one tensor each, as most are.
        record_bytes: bytes of one record.
        capacity: records that there is room for.
        contexts, times: of each record, from the one that holds them, for step detail.
    """

    def __init__(self, fields: Sequence[Any], kind: str | None) -> None:
        self.kind = kind
        self._structure = structure_of(fields)
        self.packed = kind is None and self._structure == (_TENSOR, _TENSOR, _TENSOR, _ABSENT, _ABSENT)
        parts = flat(fields, self._structure) or []
        self._forms = [(part.shape, part.dtype) for part in parts]
        self._sizes = [part.nbytes for part in parts]
        self._guards = 0
        self._alike: Callable[..., bool] = self._guard(parts)
        self._memory: list[Any] = []
        self._whole: list[Tensor] = []  # of all that there is room for: [capacity, ...]
        self._places: list[tuple[memoryview, int]] = []
        self._number = 0
        self.record_bytes = sum(self._sizes)
        self.capacity = 0
        self.contexts: list[dict[str, Any]] = []
        self.times: list[int] = []

    def __len__(self) -> int:
        return self._number

    def add(self, fields: tuple[Any, ...]) -> bool:
        """Copy a record; False if it has another form, or there is no room: it is then not held."""
        number = self._number
        parts = flat(fields, self._structure)
        if number == self.capacity or parts is None:
            return False
        if not self._alike(*parts):
            parts = self._alike_by_part(parts)
            if parts is None:
                return False
        try:
            for part, (place, size) in zip(parts, self._places, strict=True):
                source = part.data_ptr()
                if not source:  # its memory was taken away
                    return False
                place[number * size : (number + 1) * size] = _MEMORY[source : source + size]
        except RuntimeError:  # a wrapper, whose memory is elsewhere
            return False
        self._number = number + 1
        return True

    def add_packed(self, actions: Any, masks: Any, success: Any) -> bool:
        """Copy a record of three tensors, of a stack for such; False if it has another form, or there is no room.

        As `add`, written out for what nearly all records are: the loop and its tuples take a third of the time.
        """
        number = self._number
        if number == self.capacity or not self._alike(actions, masks, success):
            return False
        (to_actions, n), (to_masks, m), (to_success, k) = self._places
        at_actions, at_masks, at_success = actions.data_ptr(), masks.data_ptr(), success.data_ptr()
        if not (at_actions and at_masks and at_success):
            return False
        to_actions[number * n : (number + 1) * n] = _MEMORY[at_actions : at_actions + n]
        to_masks[number * m : (number + 1) * m] = _MEMORY[at_masks : at_masks + m]
        to_success[number * k : (number + 1) * k] = _MEMORY[at_success : at_success + k]
        self._number = number + 1
        return True

    def _alike_by_part(self, parts: Sequence[Any]) -> list[Tensor] | None:
        """Return contiguous parts of the form of this stack, in other memory if need be; None if one has another."""
        found = []
        for part, (shape, dtype) in zip(parts, self._forms, strict=True):
            if type(part) is not Tensor or not part.is_cpu or part.shape != shape or part.dtype is not dtype:
                return None
            try:
                whole = part if part.is_contiguous() else part.detach().contiguous()
                found.append(whole.detach().resolve_neg() if whole.is_neg() else whole)
            except RuntimeError:  # a tensor without memory of its own
                return None
        if self._guards < _GUARDS and all(map(_is_same, found, parts)):
            self._alike = self._guard(found)
        return found

    def _guard(self, parts: Sequence[Any]) -> Callable[..., bool]:
        """Return what tells in one call whether parts are like these; where there is no such thing, none are."""
        self._guards += 1
        guards = getattr(getattr(torch._C, "_dynamo", None), "guards", None)  # noqa: SLF001 - there is no public name
        if guards is None or not all(part.is_contiguous() and not part.is_neg() for part in parts):
            return _never
        try:
            made = guards.TensorGuards(*parts, dynamic_dims_sizes=None, dynamic_dims_strides=None)
            check: Callable[..., bool] = made.check
            return check if check(*parts) else _never
        except Exception:  # noqa: BLE001 - private to torch: another version may ask for something else
            return _never

    def grow(self, most_bytes: int) -> bool:
        """Make room for as many records again, in no more than `most_bytes`; False if that is for no more than now."""
        wanted = 2 * self.capacity or max(1, _FIRST_BYTES // max(1, self.record_bytes))
        capacity = max(1, min(wanted, most_bytes // max(1, self.record_bytes)))
        if capacity <= self.capacity:
            return False
        grown = [torch.UntypedStorage(capacity * size, device="cpu") for size in self._sizes]  # type: ignore[no-untyped-call]  # torch's gap; no operation
        places = [
            memoryview((ctypes.c_char * storage.nbytes()).from_address(storage.data_ptr())).cast("B")
            for storage in grown
        ]
        for (old, size), new in zip(self._places, places, strict=False):
            new[: self._number * size] = old[: self._number * size]
        self._memory, self._whole, self._places = grown, [], list(zip(places, self._sizes, strict=True))
        self.capacity = capacity
        return True

    def columns(self) -> list[Any]:
        """Return the fields of all records: in place of each tensor [records, ...], valid until `clear`."""
        if not self._whole:
            self._whole = [
                torch.empty(0, dtype=dtype, device="cpu").set_(memory).view(self.capacity, *shape)
                for memory, (shape, dtype) in zip(self._memory, self._forms, strict=True)
            ]
        number = self._number
        columns = iter([whole.narrow(0, 0, number) for whole in self._whole])
        return [
            None if keys is _ABSENT else next(columns) if keys is _TENSOR else {key: next(columns) for key in keys}
            for keys in self._structure
        ]

    def joined(self) -> list[Any]:
        """Return the fields of all steps as those of one: decisions [records * B, ...], and scalars as columns."""
        *decisions, scalars = self.columns()
        return [*map(_flattened, decisions), scalars]

    def values(self) -> list[Entry]:
        """Return what the records have of each value as one: (name, value, weight), with the records in front."""
        if self.kind is not None:
            value, weight = self.columns()
            return [(self.kind, value, _beside(weight, value))]
        if self._structure[DECISION_FIELDS] is _ABSENT:
            return []
        *_, valid, scalars = self.columns()
        return [
            (name, value, valid if valid is not None and valid.shape == value.shape else None)
            for name, value in scalars.items()
        ]

    def entries(self) -> list[Entry]:
        """Return each step by itself, valid until `clear`."""
        number = self._number
        fields = [_split(column, number) for column in self.columns()]
        contexts, times = self.contexts or [{}] * number, self.times or [0] * number
        return list(zip(*fields, contexts, times, strict=True))

    def size(self) -> int:
        """Return how many decisions the records have, or values."""
        shape = self._forms[0][0]
        each = shape.numel() if self.kind is not None else shape[0] if shape else 1
        return int(each) * self._number

    def has_one_context(self) -> bool:
        """Tell whether all records have context of the same names, each an integer: they are one chunk of detail."""
        contexts = self.contexts
        names = list(contexts[0]) if contexts else []
        if sum(map(len, contexts)) != len(names) * len(contexts):
            return False
        return all(set(map(type, [context.get(name) for context in contexts])) == {int} for name in names)

    def clear(self) -> None:
        """Forget the records, and keep the memory."""
        self._number = 0
        self.contexts, self.times = [], []


def _never(*_: Any) -> bool:
    return False


def _is_same(one: Any, other: Any) -> bool:
    return one is other


def _flattened(column: Any) -> Any:
    if isinstance(column, dict):
        return {key: one.flatten(0, 1) for key, one in column.items()}
    return None if column is None else column.flatten(0, 1)


def _split(column: Any, number: int) -> Sequence[Any]:
    if isinstance(column, dict):
        rows = zip(*(one.unbind(0) for one in column.values()), strict=True)
        return [dict(zip(column, row, strict=True)) for row in rows]
    return [None] * number if column is None else column.unbind(0)


def _beside(weight: Tensor | None, value: Tensor) -> Tensor | None:
    """Return weights [records] or [records, ...] in a shape that expands to that of the values."""
    return weight if weight is None or weight.dim() == value.dim() else weight.view(-1, *[1] * (value.dim() - 1))


class Stacks:
    """The stacks of a bank, by kind and form.

    Args:
        spec: what is counted.
        most_bytes: memory that they may have in all; one record is held whatever its size.
    """

    def __init__(self, spec: CounterSpec, most_bytes: int) -> None:
        self._spec, self._most_bytes = spec, most_bytes
        self._stacks: dict[str | None, dict[Any, Stack]] = {}

    def fitting(self, fields: tuple[Any, ...], kind: str | None) -> Stack | None:
        """Return the stack for a record; None if its form is not the spec's, or not one that can be copied here."""
        structure = structure_of(fields)
        parts = flat(fields, structure) or []
        if not all(type(part) is Tensor and part.is_cpu and part.layout == torch.strided for part in parts):
            return None
        form = (structure, *[(part.shape, part.dtype) for part in parts])
        stacks = self._stacks.setdefault(kind, {})
        stack = stacks.get(form)
        if stack is not None or not self._fits(fields, kind, parts):
            return stack
        stack = stacks[form] = Stack(fields, kind)
        return stack

    def _fits(self, fields: tuple[Any, ...], kind: str | None, parts: Sequence[Tensor]) -> bool:
        """Tell whether a record is what the spec asks for; one that is not is reported where it is folded."""
        if not parts or not all(part.nbytes for part in parts):
            return False
        entry = (*fields, {}, 0) if kind is None else (kind, *fields)
        try:
            check_counted(self._spec, torch.device("cpu"), entry)
            for value in values_of(entry) if kind is None else []:
                check_counted(self._spec, torch.device("cpu"), value)
        except CounterError:
            return False
        return True

    def make_room(self, stack: Stack) -> bool:
        """Let a full stack grow, as far as the memory of all of them goes."""
        every = [one for stacks in self._stacks.values() for one in stacks.values()]
        return stack.grow(self._most_bytes - sum(one.capacity * one.record_bytes for one in every if one is not stack))

    def filled(self) -> list[Stack]:
        """Return the stacks that hold records."""
        return [stack for stacks in self._stacks.values() for stack in stacks.values() if len(stack)]

    def clear(self) -> None:
        """Forget all records, and the forms beyond a few of each kind: the first of those that had records."""
        for kind, stacks in self._stacks.items():
            used = sorted(stacks.items(), key=lambda item: not len(item[1])) if len(stacks) > _FORMS else stacks.items()
            self._stacks[kind] = dict(list(used)[:_FORMS])
            for stack in self._stacks[kind].values():
                stack.clear()
