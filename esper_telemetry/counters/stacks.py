"""Records of packed tensors on the host: copied at the call, one below the other, and so already joined.

On the host nothing is asynchronous: what a record holds lies there at its call. Copied then, it
needs no watching, is never in doubt whoever owns its memory, and is joined before the fold. A
copy is a move of memory and no operation of torch: watching a reference takes longer, even of
fresh tensors. Dicts, values and what is on a device stay with `keeping`.

Memory is kept for the next window: a first touch of it would cost more than the copy.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from esper_telemetry.counters.entry import DECISION_FIELDS, Entry, check_counted
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.counters.spec import CounterSpec

# Forms for which memory is kept from window to window; batches of every size would fill it for ever.
_FORMS = 4
_FIRST_BYTES = 64 * 1024

# As ctypes.memmove, which gives the interpreter away at each call, and takes a quarter longer for it.
_move = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
    ctypes.cast(ctypes.memmove, ctypes.c_void_p).value or 0
)


class Stack:
    """Copies of records of one form.

    Args:
        parts: actions, masks, success and valid of the first; None where not given.
        noted: keep the context and time of each too, for step detail.

    Attributes:
        record_bytes: bytes of one record.
        capacity: records that there is room for.
        contexts, times: of each record, if noted.
    """

    def __init__(self, parts: Sequence[Tensor | None], *, noted: bool) -> None:
        self._forms = [None if part is None else (part.shape, part.dtype) for part in parts]
        self._sizes = [0 if part is None else part.nbytes for part in parts]
        self._noted = noted
        self._memory: list[torch.UntypedStorage | None] = [None] * len(parts)
        self._facts: list[tuple[torch.Size, torch.dtype, int, int] | None] = []
        self._number = 0
        self.record_bytes = sum(self._sizes)
        self.capacity = 0
        self.contexts: list[dict[str, Any]] = []
        self.times: list[int] = []

    def __len__(self) -> int:
        return self._number

    def add(self, parts: tuple[Any, ...], context: dict[str, Any], time: int) -> bool:
        """Copy a record; False if it has another form, or there is no room: it is then not held."""
        number = self._number
        if number == self.capacity:
            return False
        try:
            for part, facts in zip(parts, self._facts):  # noqa: B905 - both have four, and the keyword is a tenth of this loop
                if facts is None or part is None:
                    if part is not facts:
                        return False
                    continue
                shape, dtype, base, size = facts
                if type(part) is not Tensor or part.shape != shape or part.dtype is not dtype or not part.is_cpu:
                    return False
                whole = part if part.is_contiguous() else part.detach().contiguous()
                source = whole.data_ptr()
                if not source:
                    return False
                _move(base + number * size, source, size)
        except RuntimeError:  # a tensor without memory of its own
            return False
        if self._noted:
            self.contexts.append(context)
            self.times.append(time)
        self._number = number + 1
        return True

    def grow(self, most_bytes: int) -> bool:
        """Make room for as many records again, in no more than `most_bytes`; False if that is for no more than now."""
        wanted = 2 * self.capacity or max(1, _FIRST_BYTES // max(1, self.record_bytes))
        capacity = max(1, min(wanted, most_bytes // max(1, self.record_bytes)))
        if capacity <= self.capacity:
            return False
        self._memory = [self._grown(place, capacity) for place in range(len(self._forms))]
        self._facts = [
            None if form is None or memory is None else (*form, memory.data_ptr(), size)
            for form, memory, size in zip(self._forms, self._memory, self._sizes, strict=True)
        ]
        self.capacity = capacity
        return True

    def _grown(self, place: int, capacity: int) -> torch.UntypedStorage | None:
        old, size = self._memory[place], self._sizes[place]
        if not size:
            return None
        new = torch.UntypedStorage(capacity * size, device="cpu")  # type: ignore[no-untyped-call]  # torch's gap; no operation
        if old is not None:
            _move(new.data_ptr(), old.data_ptr(), self._number * size)
        return new

    def joined(self) -> list[Tensor | None]:
        """Return the parts of all records as those of one, valid until `clear`."""
        return [None if column is None else column.flatten(0, 1) for column in self._columns()]

    def _columns(self) -> list[Tensor | None]:
        """Return [records, ...] of each part."""
        return [
            None if form is None or memory is None else _column(memory, *form, self._number)
            for form, memory in zip(self._forms, self._memory, strict=True)
        ]

    def entries(self) -> list[Entry]:
        """Return each record by itself, valid until `clear`."""
        number = self._number
        columns = [[None] * number if column is None else column.unbind(0) for column in self._columns()]
        contexts, times = self.contexts or [{}] * number, self.times or [0] * number
        return [(*parts, None, context, time) for *parts, context, time in zip(*columns, contexts, times, strict=True)]

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


def _column(memory: torch.UntypedStorage, shape: torch.Size, dtype: torch.dtype, number: int) -> Tensor:
    """Return the first `number` tensors of a shape that lie in `memory`, as one: [number, *shape]."""
    return torch.empty(0, dtype=dtype).set_(memory).narrow(0, 0, number * shape.numel()).view(number, *shape)


class Stacks:
    """The stacks of a bank, by form.

    Args:
        spec: what is counted.
        most_bytes: memory that they may have in all; one record is held whatever its size.
        noted: see `Stack`.
    """

    def __init__(self, spec: CounterSpec, most_bytes: int, *, noted: bool) -> None:
        self._spec, self._most_bytes, self._noted = spec, most_bytes, noted
        self._stacks: dict[Any, Stack] = {}

    def fitting(self, parts: tuple[Any, ...]) -> Stack | None:
        """Return the stack for a record; None if its form is not the spec's, or not one that can be copied here."""
        if not all(part is None or (type(part) is Tensor and part.is_cpu) for part in parts):
            return None
        form = tuple([None if part is None else (part.shape, part.dtype) for part in parts])
        stack = self._stacks.get(form)
        if stack is not None or not self._fits(parts):
            return stack
        stack = self._stacks[form] = Stack(parts, noted=self._noted)
        return stack

    def _fits(self, parts: tuple[Any, ...]) -> bool:
        try:
            check_counted(self._spec, torch.device("cpu"), (*parts, None, {}, 0))
        except CounterError:
            return False  # it is kept as it is, and reported where it is folded
        return any(part is not None for part in parts[: DECISION_FIELDS // 2]) and all(
            part is None or part.nbytes for part in parts
        )

    def make_room(self, stack: Stack) -> bool:
        """Let a full stack grow, as far as the memory of all of them goes."""
        others = sum(other.capacity * other.record_bytes for other in self._stacks.values() if other is not stack)
        return stack.grow(self._most_bytes - others)

    def filled(self) -> list[Stack]:
        """Return the stacks that hold records."""
        return [stack for stack in self._stacks.values() if len(stack)]

    def clear(self) -> None:
        """Forget all records, and the forms beyond a few: the first of those that had records."""
        used = sorted(self._stacks.items(), key=lambda item: not len(item[1]))
        self._stacks = dict(used[:_FORMS])
        for stack in self._stacks.values():
            stack.clear()
