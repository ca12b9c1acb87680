"""Keeping what was recorded as it was at the call: by reference where that is sound, else by copy.

A reference is sound while its memory is not written. Torch counts writes (`_version`), so
a tensor is kept by reference if its memory is torch's own (not numpy's, DLPack's or another
process's), it has all of that memory to itself (no row of a buffer), it counts its writes (no
inference tensor), and no record before it in this window holds the same memory. Everything
else is copied from its first record on, and so are from then on all parts that have its role.

At the fold each reference is looked at again. One that was written into is left out; one whose
memory came again without a counted write (a captured graph's output, or a constant) is doubtful:
it is counted, and the number of such rows goes into the record beside the counts. What no bank
on a device can see is one such write into memory that never comes again.

What is on the host does not come here: `stacks` copies it at the call.

Copies lie in rows of memory that the bank keeps: one call a record, no allocation. On CUDA the parts
of a record are copied as bytes, because one launch takes many tensors of one type only. Rows are
used again after each fold, on the stream that folded them.

Nothing here waits for a device. Fresh tensors cost no operation.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from esper_telemetry.counters.entry import STEP_FIELDS, Entry, names_of, rebuilt, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Problem(NamedTuple):
    """A record that cannot be vouched for: what it is, its number in the window, and how many rows (or values)."""

    what: str
    number: int
    size: int
    value: bool


class Settled(NamedTuple):
    """A window's entries as they are to be counted, and what is wrong with it."""

    entries: list[Entry]
    left_out: list[Problem]
    doubtful: list[Problem]


class Keeper:
    """Keeps the records of one bank.

    Args:
        device: of the bank.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # The references of each record, and in one row of all records the writes that they had seen.
        self._references: list[Sequence[Tensor]] = []
        self._starts: list[int] = []
        self._versions: list[int] = []
        self._places: dict[int, list[int]] = {}  # of records that are copied in part: which parts are references
        # By kind, the addresses of this window's references, and where the first record that had it starts.
        self._seen: dict[str, dict[Any, int]] = {}
        self._lent: set[str] = set()
        self._traceless: set[str] = set()
        self._before: dict[str, tuple[list[weakref.ref[Any]], Problem]] = {}
        self._carried: list[Problem] = []
        self._shelves = Shelves(as_bytes=device.type == "cuda")
        self._copied_whole: dict[str, Shelf] = {}

    def keep(self, kind: str, parts: Sequence[Any], entry: Entry) -> Entry:
        """Return the entry to hold for `entry`, just recorded.

        Args:
            kind: "" for a step, the name for a value: memory may come again under another one.
            parts: `parts_of(entry)`.
            entry: as it was given.
        """
        versions = self._versions
        start = len(versions)
        self._starts.append(start)
        seen = self._seen.get(kind)
        if self._lent:
            return self._keep_lent(kind, parts, entry)
        if seen is None:
            if not self._begins_well(kind, parts):
                return self._keep_each(kind, parts, entry)
            seen = self._seen[kind]
        try:
            for part in parts:
                address = part.data_ptr() or part.untyped_storage()
                if seen.setdefault(address, start) != start or not part.untyped_storage().resizable():
                    break
                versions.append(part._version)  # noqa: SLF001 - torch documents no public name
            else:
                self._references.append(parts)
                return entry
        except (AttributeError, RuntimeError):  # no tensor, or one without memory or without a count of writes
            pass
        del versions[start:]
        for address in [address for address, first in seen.items() if first == start]:
            del seen[address]
        return self._keep_each(kind, parts, entry)

    def _begins_well(self, kind: str, parts: Sequence[Any]) -> bool:
        """Ask of a window's first record what is not asked of each: has it all of its memory, and is that new?"""
        self._seen[kind] = {}
        refs, _ = self._before.get(kind, ([], None))
        before = [ref() for ref in refs]
        try:
            return all(
                part.untyped_storage().nbytes() == part.nbytes and part.untyped_storage() not in before
                for part in parts
            )
        except (AttributeError, RuntimeError):
            return False

    def _keep_lent(self, kind: str, parts: Sequence[Any], entry: Entry) -> Entry:
        """Copy a record all of whose parts were copied before; decide for each part of any other."""
        shelf = self._copied_whole.get(kind)
        if shelf is None or not shelf.fits(parts):
            return self._keep_each(kind, parts, entry)
        copied = rebuilt(entry, shelf.copy(parts))
        self._references.append(())
        return copied

    def _keep_each(self, kind: str, parts: Sequence[Any], entry: Entry) -> Entry:
        """Decide for each part by itself; what does not fit is kept, and found by the check of its form."""
        self._seen.setdefault(kind, {})
        roles = names_of(entry)
        ours = [place for place, part in enumerate(parts) if self._is_ours(part)]
        for place in ours:
            if roles[place] not in self._lent and self._is_lent(kind, roles[place], parts[place]):
                self._lent.add(roles[place])
        copied = [place for place in ours if roles[place] in self._lent]
        new = list(parts)
        if copied:
            lent = [parts[place] for place in copied]
            shelf = self._shelves.fitting(tuple([roles[place] for place in copied]), lent)
            if len(copied) == len(parts):
                self._copied_whole[kind] = shelf
            for place, copy in zip(copied, shelf.copy(lent), strict=True):
                new[place] = copy
        kept = [place for place in ours if roles[place] not in self._lent]
        self._refer(self._seen[kind], [parts[place] for place in kept])
        if len(kept) < len(parts):
            self._places[len(self._starts) - 1] = kept
        return rebuilt(entry, new) if copied else entry

    def _refer(self, seen: dict[Any, int], parts: Sequence[Tensor]) -> None:
        start = self._starts[-1]
        for part in parts:
            seen.setdefault(_address(part), start)
            self._versions.append(part._version)  # noqa: SLF001 - torch documents no public name
        self._references.append(parts)

    def _is_ours(self, part: Any) -> bool:
        return isinstance(part, Tensor) and part.device.type == self._device.type and part.layout == torch.strided

    def _is_lent(self, kind: str, role: str, part: Tensor) -> bool:
        """Tell whether a part's memory may change unseen; note what follows for earlier records."""
        storage, seen = part.untyped_storage(), self._seen[kind]
        if part.is_inference():
            return True
        if type(part) is Tensor or isinstance(part, torch.nn.Parameter):  # memory of a wrapper is not its own
            if not storage.resizable() or storage.nbytes() != part.nbytes:
                return True
            if not seen and part.is_shared():  # type: ignore[no-untyped-call]  # torch's gap
                return True  # asked in few records: it costs a microsecond
        earlier = seen.get(_address(part)) if part.nbytes else None
        if earlier is None:
            return not seen and self._was_here_before(kind, storage)
        if not self._shows_a_write(part, earlier):
            self._traceless.add(role)  # or a constant: all references of this role are doubtful
        return True

    def _shows_a_write(self, again: Tensor, start: int) -> bool:
        """Tell whether the memory that came again was seen to be written since the record that starts there."""
        number = bisect_right(self._starts, start) - 1
        while not self._references[number]:  # records without references start where the next one does
            number -= 1
        versions = self._versions[start : start + len(self._references[number])]
        return all(
            part._version != version  # noqa: SLF001 - torch documents no public name
            for part, version in zip(self._references[number], versions, strict=True)
            if _address(part) == _address(again)
        )

    def _was_here_before(self, kind: str, storage: torch.UntypedStorage) -> bool:
        """Tell whether the window before ended with this memory: a buffer that is recorded once a window."""
        refs, problem = self._before.get(kind, ([], None))
        if not any(ref() is storage for ref in refs):
            return False
        if problem is not None and problem.size:
            self._carried.append(problem)
            del self._before[kind]
        return True

    def forget_after(self, records: int) -> None:
        """Forget what was noted of a record that could not be kept: `records` are held."""
        del self._versions[self._starts[records] :], self._references[records:], self._starts[records:]
        self._places.pop(records, None)

    def settle(self, entries: Sequence[Entry]) -> Settled:
        """Look at a window's references again; `entries` are what `keep` returned."""
        settled = Settled([], [], self._carried)
        suspicious = bool(self._traceless)
        for number, (entry, start) in enumerate(zip(entries, self._starts, strict=True)):
            references = self._references[number]
            if suspicious or not self._are_untouched(_kind_of(entry), references, start):
                self._settle_one(number, entry, references, settled)
            else:
                settled.entries.append(entry)
        self._remember_last(entries)
        return settled

    def _are_untouched(self, kind: str, references: Sequence[Tensor], start: int) -> bool:
        seen, versions = self._seen.get(kind, {}), self._versions
        for i, part in enumerate(references, start):
            if part._version != versions[i] or not part.untyped_storage().resizable():  # noqa: SLF001 - see above
                return False
            if seen.get(_address(part)) != start:
                return False
        return True

    def _settle_one(self, number: int, entry: Entry, references: Sequence[Tensor], settled: Settled) -> None:
        """Judge each reference of a record: leave out or doubt what was written into."""
        roles = names_of(entry)
        written = doubted = ""
        places = self._places.get(number, range(len(references)))
        for i, (place, part) in enumerate(zip(places, references, strict=True)):
            verdict = self._verdict(part, number, i, roles[place])
            written = written or (roles[place] if verdict == "written" else "")
            doubted = doubted or (roles[place] if verdict == "doubtful" else "")
        if written:
            settled.left_out.append(_problem(written, number, entry))
            return
        settled.entries.append(entry)
        if doubted:
            settled.doubtful.append(_problem(doubted, number, entry))

    def _verdict(self, part: Tensor, number: int, i: int, role: str) -> str:
        start = self._starts[number]
        exposed = not part.untyped_storage().resizable()
        swapped = not any(seen.get(_address(part)) == start for seen in self._seen.values())
        if exposed:  # an array was taken of it since
            self._lent.add(role)
        if part._version != self._versions[start + i]:  # noqa: SLF001 - torch documents no public name
            self._lent.add(role)
            return "written"
        return "doubtful" if swapped or exposed or role in self._traceless else ""

    def _remember_last(self, entries: Sequence[Entry]) -> None:
        """Remember the memory of each kind's last record: if it is the first of the next window, it is a buffer."""
        self._before.clear()
        for kind, number in {_kind_of(entry): number for number, entry in enumerate(entries)}.items():
            refs = [weakref.ref(part.untyped_storage()) for part in self._references[number]]
            if refs:
                problem = _problem(names_of(entries[number])[0], number, entries[number])
                self._before[kind] = refs, problem

    def next_window(self) -> None:
        """Forget the window, whose entries have been folded."""
        for noted in (self._references, self._starts, self._versions, self._places, self._seen):
            noted.clear()
        self._traceless.clear()
        self._carried = []
        self._shelves.rewind()


def _kind_of(entry: Entry) -> str:
    return "" if len(entry) == STEP_FIELDS else str(entry[0])


def _problem(what: str, number: int, entry: Entry) -> Problem:
    return Problem(what, number, size_of(entry), value=len(entry) != STEP_FIELDS)


def _address(part: Tensor) -> Any:
    """Return what tells a tensor's memory from others' while it is held; torch makes no object for it."""
    try:
        address = part.data_ptr()
    except RuntimeError:
        address = 0
    return address or part.untyped_storage()  # of a wrapper, whose memory is elsewhere


# A chunk of rows: large enough that making it costs nothing a record, small against the memory a bank may hold.
_CHUNK_BYTES = 256 * 1024
_CHUNK_ROWS = 128

Row = tuple[list[Tensor], list[Tensor]]


class Shelf:
    """Rows for records whose copied parts have the same shapes and types.

    Args:
        parts: those of the first record.
        as_bytes: copy bytes; parts that are not contiguous are then copied in the order of their elements first.
    """

    def __init__(self, parts: Sequence[Tensor], *, as_bytes: bool) -> None:
        self.shapes = [part.shape for part in parts]
        self.dtypes = [part.dtype for part in parts]
        self._device = parts[0].device
        self._facts = [(part.shape, part.dtype) for part in parts]
        self._as_bytes = as_bytes
        self._chunks: list[list[Row]] = []
        self._rows: Iterator[Row] = iter(())
        self._used = 0

    def fits(self, parts: Sequence[Tensor]) -> bool:
        """Tell whether `parts` can be copied here."""
        if len(parts) != len(self._facts):
            return False
        device = self._device
        for part, (shape, dtype) in zip(parts, self._facts, strict=True):
            if part.shape != shape or part.dtype is not dtype or part.device != device:
                return False
        return True

    def copy(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Return copies of `parts`, valid until `rewind`."""
        row = next(self._rows, None)
        if row is None:
            row = self._next_chunk()
        kept, targets = row
        if self._as_bytes:
            parts = [part.reshape(-1).view(torch.uint8) for part in parts]
        torch._foreach_copy_(targets, parts)  # type: ignore[arg-type]  # any sequence does
        return kept

    def rewind(self) -> None:
        """Use all rows again."""
        self._used = 0
        self._rows = iter(())

    def _next_chunk(self) -> Row:
        if self._used == len(self._chunks):
            self._chunks.append(self._new_chunk())
        self._rows = iter(self._chunks[self._used])
        self._used += 1
        return next(self._rows)

    def _new_chunk(self) -> list[Row]:
        size = sum(shape.numel() * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True))
        number = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // max(1, size)))
        with torch.inference_mode(mode=False):  # an inference tensor could not be written to outside that mode
            blocks = [
                torch.empty((number, *shape), dtype=dtype, device=self._device)
                for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
            ]
            kept = zip(*(block.unbind(0) for block in blocks), strict=True)
            if not self._as_bytes:
                return [(list(row), list(row)) for row in kept]
            flat = zip(*(block.view(number, -1).view(torch.uint8).unbind(0) for block in blocks), strict=True)
            return [(list(row), list(bytes_)) for row, bytes_ in zip(kept, flat, strict=True)]


class Shelves:
    """The shelves of a bank, by what is copied together.

    Args:
        as_bytes: see `Shelf`.
    """

    def __init__(self, *, as_bytes: bool) -> None:
        self._as_bytes = as_bytes
        self._shelves: dict[tuple[str, ...], list[Shelf]] = {}

    def fitting(self, roles: tuple[str, ...], parts: Sequence[Tensor]) -> Shelf:
        """Return the shelf for parts that have these roles in a record."""
        shelves = self._shelves.setdefault(roles, [])
        for shelf in shelves:
            if shelf.fits(parts):
                return shelf
        shelves.insert(0, Shelf(parts, as_bytes=self._as_bytes))
        return shelves[0]

    def rewind(self) -> None:
        """Use all memory again: what was copied has been folded."""
        for shelves in self._shelves.values():
            del shelves[_SHAPES:]
            for shelf in shelves:
                shelf.rewind()


# Shapes of one set of parts for which memory is kept from window to window.
_SHAPES = 4
