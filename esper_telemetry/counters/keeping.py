"""Keeping what was recorded as it was at the call: by reference where that is sound, else by copy.

A reference is sound while nobody writes into its memory. Torch counts writes (`_version`), so
a tensor is kept by reference if its memory is torch's own (not numpy's, DLPack's or another
process's), it has all of that memory to itself (no row of a buffer), it counts its writes (no
inference tensor), and no record before it in this window holds the same memory. Everything
else is copied from its first record on, and so are from then on all parts that have its role.

At the fold each reference is looked at again. One that was written into is left out; one whose
memory came again without a counted write (a captured graph's output, or a constant) is doubtful:
it is counted, and the number of such rows goes into the record beside the counts. On the CPU
the first windows and then one in 16 also hold the bytes that each reference had at its call,
which shows writes that leave no trace, and gives back what they destroyed.

Nothing here waits for a device. Fresh tensors cost no operation.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from esper_telemetry.counters.copies import Shelf, Shelves
from esper_telemetry.counters.entry import STEP_FIELDS, Entry, names_of, parts_of, rebuilt, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

GuardMode: TypeAlias = Literal["auto", "always", "off"]

_FIRST_WINDOWS = 4
_THEN_ONE_IN = 16


class Note(NamedTuple):
    """What was seen of the parts that an entry refers to.

    Attributes:
        parts: those kept by reference.
        places: their numbers among all parts of the entry.
        storages: the memory of each.
        versions: the writes it had seen at the call.
        held: its bytes at the call; empty outside the windows that hold them.
    """

    parts: Sequence[Tensor]
    places: Sequence[int]
    storages: Sequence[torch.UntypedStorage]
    versions: Sequence[int]
    held: Sequence[bytes]


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
        mode: "auto"; "always": on the CPU every window holds bytes; "off": everything is kept by reference, unwatched.
    """

    def __init__(self, device: torch.device, mode: GuardMode) -> None:
        self.watching = mode != "off"
        self._device = device
        self._every_window = mode == "always"
        self._holding = device.type == "cpu"
        self._windows = 0
        self._notes: list[Note | None] = []
        self._seen: dict[str, dict[Any, int]] = {}
        self._lent: set[str] = set()
        self._traceless: set[str] = set()
        self._before: dict[str, tuple[tuple[weakref.ref[Any], ...], Problem]] = {}
        self._carried: list[Problem] = []
        self._shelves = Shelves(as_bytes=device.type == "cuda")
        self._whole: dict[str, Shelf] = {}

    def keep(self, kind: str, parts: Sequence[Any], entry: Entry) -> Entry:
        """Return the entry to hold for `entry`, just recorded.

        Args:
            kind: "" for a step, the name for a value: memory may come again under another one.
            parts: `parts_of(entry)`.
            entry: as it was given.
        """
        seen = self._seen.get(kind)
        if seen is None or self._lent or self._holding:
            shelf = self._whole.get(kind)
            if shelf is None or not shelf.fits(parts):
                return self._keep_each(kind, parts, entry)
            copies = shelf.copy(parts)
            self._notes.append(None)
            return rebuilt(entry, copies)
        storages, versions = [], []
        try:
            for part in parts:
                storage = part.untyped_storage()
                if storage in seen or not storage.resizable():
                    return self._keep_each(kind, parts, entry)
                storages.append(storage)
                versions.append(part._version)
        except (AttributeError, RuntimeError):  # no tensor, or one without memory or without a count of writes
            return self._keep_each(kind, parts, entry)
        number = len(self._notes)
        for storage in storages:
            seen[storage] = number
        self._notes.append(Note(parts, range(len(parts)), storages, versions, ()))
        return entry

    def _keep_each(self, kind: str, parts: Sequence[Any], entry: Entry) -> Entry:
        """Decide for each part by itself."""
        seen = self._seen.setdefault(kind, {})
        roles, number = names_of(entry), len(self._notes)
        copied: list[int] = []
        kept: list[int] = []
        for place, (role, part) in enumerate(zip(roles, parts, strict=True)):
            if not self._is_ours(part):
                continue  # what does not fit is found by the check of its form
            if role not in self._lent and self._is_lent(kind, role, part, number):
                self._lent.add(role)
            (copied if role in self._lent else kept).append(place)
        for place in kept:
            seen.setdefault(parts[place].untyped_storage(), number)
        self._notes.append(self._note(parts, kept) if kept else None)
        if not copied:
            return entry
        shelf = self._shelves.fitting(tuple([roles[place] for place in copied]), [parts[place] for place in copied])
        copies = shelf.copy([parts[place] for place in copied])
        if len(copied) == len(parts):
            self._whole[kind] = shelf
        new = list(parts)
        for place, copy in zip(copied, copies, strict=True):
            new[place] = copy
        return rebuilt(entry, new)

    def _is_ours(self, part: Any) -> bool:
        return isinstance(part, Tensor) and part.device.type == self._device.type and part.layout == torch.strided

    def _is_lent(self, kind: str, role: str, part: Tensor, number: int) -> bool:
        """Tell whether a part's memory may change unseen; note what that says about earlier records."""
        storage = part.untyped_storage()
        if type(part) is Tensor or isinstance(part, torch.nn.Parameter):  # memory of a wrapper is not its own
            if not storage.resizable() or storage.nbytes() != part.nbytes or part.is_inference():
                return True
            if not self._seen[kind] and self._device.type == "cpu" and part.is_shared():
                return True  # asked once a window: it costs a microsecond
        elif part.is_inference():
            return True
        earlier = self._seen[kind].get(storage, number)
        if earlier != number:
            self._suspect(role, earlier, storage)
            return True
        return self._was_here_before(kind, storage)

    def _suspect(self, role: str, earlier: int, storage: torch.UntypedStorage) -> None:
        """Doubt this window's references of a role if memory came again and shows no write since."""
        note = self._notes[earlier]
        if note is not None and any(
            one is storage and part._version == version
            for part, one, version in zip(note.parts, note.storages, note.versions, strict=True)
        ):
            self._traceless.add(role)

    def _was_here_before(self, kind: str, storage: torch.UntypedStorage) -> bool:
        """Tell whether the window before ended with this memory: a buffer that is recorded once a window."""
        refs, problem = self._before.get(kind, ((), None))
        if not any(ref() is storage for ref in refs):
            return False
        if problem is not None and problem.size:
            self._carried.append(problem)
            del self._before[kind]
        return True

    def _note(self, parts: Sequence[Any], places: Sequence[int]) -> Note:
        kept = [parts[place] for place in places]
        storages = [part.untyped_storage() for part in kept]
        held = [_bytes_in(storage) for storage in storages] if self._holding else ()
        return Note(kept, places, storages, [part._version for part in kept], held)

    def forget_after(self, records: int) -> None:
        """Forget what was noted of a record that could not be kept: `records` are held."""
        del self._notes[records:]

    def settle(self, entries: Sequence[Entry]) -> Settled:
        """Look at a window's references again and begin a new window; `entries` are what `keep` returned."""
        settled = Settled([], [], self._carried)
        for number, (entry, note) in enumerate(zip(entries, self._notes, strict=True)):
            if note is None or self._is_untouched(note):
                settled.entries.append(entry)
            else:
                self._settle_one(number, entry, note, settled)
        self._remember_last(entries)
        return settled

    def next_window(self) -> None:
        """Forget the window, whose entries have been folded."""
        self._windows += 1
        sampled = self._every_window or self._windows < _FIRST_WINDOWS or self._windows % _THEN_ONE_IN == 0
        self._holding = self._device.type == "cpu" and sampled
        self._notes.clear()
        self._seen.clear()
        self._traceless.clear()
        self._carried = []
        self._shelves.rewind()

    def _is_untouched(self, note: Note) -> bool:
        for part, storage, version in zip(note.parts, note.storages, note.versions, strict=True):
            if part._version != version or part.untyped_storage() is not storage or not storage.resizable():
                return False
        if note.held:
            return all(_bytes_in(storage) == held for storage, held in zip(note.storages, note.held, strict=True))
        return not self._traceless

    def _settle_one(self, number: int, entry: Entry, note: Note, settled: Settled) -> None:
        roles, parts = names_of(entry), parts_of(entry)
        written = doubted = ""
        for i, place in enumerate(note.places):
            part, storage, role = note.parts[i], note.storages[i], roles[place]
            if not storage.resizable():
                self._lent.add(role)  # somebody has taken an array of it since
            swapped = part.untyped_storage() is not storage
            if note.held and (swapped or _bytes_in(storage) != note.held[i]):
                self._lent.add(role)
                parts[place] = _tensor_of(note.held[i], part)
            elif part._version != note.versions[i] and not note.held:
                self._lent.add(role)
                written = written or role
            elif not note.held and (swapped or role in self._traceless or not storage.resizable()):
                doubted = doubted or role
        if written:
            settled.left_out.append(_problem(written, number, entry))
            return
        settled.entries.append(rebuilt(entry, parts))
        if doubted:
            settled.doubtful.append(_problem(doubted, number, entry))

    def _remember_last(self, entries: Sequence[Entry]) -> None:
        """Remember the memory of each kind's last record: if it is the first of the next window, it is a buffer."""
        self._before.clear()
        last: dict[str, int] = {}
        for number, entry in enumerate(entries):
            last[entry[0] if len(entry) != STEP_FIELDS else ""] = number
        for kind, number in last.items():
            note = self._notes[number]
            if note is not None:
                refs = tuple(weakref.ref(storage) for storage in note.storages)
                sure = Problem("", number, 0, value=False)
                role = names_of(entries[number])[note.places[0]]
                self._before[kind] = refs, sure if note.held else _problem(role, number, entries[number])


def _problem(what: str, number: int, entry: Entry) -> Problem:
    return Problem(what, number, size_of(entry), value=len(entry) != STEP_FIELDS)


def _bytes_in(storage: torch.UntypedStorage) -> bytes:
    """Return the content of memory on the host, by no operation of torch: 0.3 us where a clone takes 1.2."""
    size = storage.nbytes()
    return ctypes.string_at(storage.data_ptr(), size) if size else b""


def _tensor_of(held: bytes, like: Tensor) -> Tensor:
    """Return a tensor of the bytes that `like`, which had all of its memory to itself, once had."""
    if not held:
        return like
    flat = torch.frombuffer(bytearray(held), dtype=like.dtype)
    return flat.as_strided(like.shape, like.stride())
