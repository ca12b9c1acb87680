"""Places what was kept of damaged or joined records into a new file, in the order of its sequence numbers.

Ranges that are gone are marked as such, frames whose sequence numbers are there already are left
out, and the output is read back before it counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.layout import Skip, SkipReason
from esper_telemetry.recordfile.verification import verify
from esper_telemetry.recordfile.writer import RecordBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from esper_telemetry.recordfile.damage import Damage
    from esper_telemetry.recordfile.keep import Context, KeptFrame, KeptItem
    from esper_telemetry.v1 import record_pb2


@dataclass(slots=True)
class Placed:
    """What is in a new file, and what could not be put there.

    Attributes:
        output: the new file.
        segments: segments in it.
        frames: data frames in it.
        events: events in it.
        rebuilt: frames of these that were whole, but whose descriptor had to be made again.
        unverified: events of these from a cut frame: no checksum of their writer covers them.
        repeats: frames left out because their sequence numbers were there already.
        damage: what could not be read, in file order, by file.
        lost: ranges of sequence numbers that are gone: segment of the output from 0, first and last number.
        lost_bytes: bytes of the inputs in nothing that is kept (footers aside: they are made again).
        open_end: events at an end are gone, and how many is unknown.
        assumed: headers that were lost and assumed: where each is from, by file.
        unclosed: segments without a footer and without a successor: their writer was killed, or is still writing,
            and what it had not handed over by then is not in them.
    """

    output: Path
    segments: int = 0
    frames: int = 0
    events: int = 0
    rebuilt: int = 0
    unverified: int = 0
    repeats: int = 0
    damage: dict[str, list[Damage]] = field(default_factory=dict)
    lost: list[tuple[int, int, int]] = field(default_factory=list)
    lost_bytes: int = 0
    open_end: bool = False
    assumed: dict[str, list[str]] = field(default_factory=dict)
    unclosed: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing was lost (exit code 0), as far as the inputs can tell; else 3."""
        return not (self.lost or self.open_end or self.unclosed or self.assumed)

    @property
    def lost_numbers(self) -> int:
        """How many sequence numbers are known to be gone."""
        return sum(last - first + 1 for _, first, last in self.lost)


class Halves:
    """The progress of work that reads inputs and then checks an output about as large.

    Args:
        progress: called with what is done and what there is to do, in bytes.
        sizes: bytes of each input.
    """

    def __init__(self, progress: Callable[[int, int], None] | None, sizes: Sequence[int]) -> None:
        self._progress = progress or (lambda _done, _total: None)
        self._sizes = sizes
        self._size = sum(sizes)

    def of_input(self, number: int) -> Callable[[int], None]:
        """Return what is to be called with the bytes read of an input."""
        before = sum(self._sizes[:number])
        return lambda done: self._progress(before + done, 2 * self._size)

    def checked(self, done: int, total: int) -> None:
        """Report that so many bytes of the output were checked."""
        self._progress(self._size + self._size * done // total, 2 * self._size)


def place(contexts: Sequence[Context], result: Placed, progress: Callable[[int, int], None] | None = None) -> None:
    """Write `contexts` to `result.output` and count in `result`; the output is removed if that fails.

    Args:
        contexts: what was kept, in the order of the output.
        result: names the output, and is filled.
        progress: called with bytes read back and bytes there are.

    Raises:
        SinkError: the output exists already or cannot be written.
        CorruptRecordError: the output did not pass its check.
    """
    with RecordBuilder(result.output) as builder:
        for context in contexts:
            _Output(builder, result).write(context)
            result.unclosed += not (context.closed or _goes_on(context.header, builder.last_seq, contexts))
        builder.sync()
        _check(result, progress)


def _goes_on(header: record_pb2.Header, last_seq: int, contexts: Sequence[Context]) -> bool:
    """Tell whether another segment knows what came after `last_seq`, where a segment without a footer ends.

    It is the next segment, or one that another writer filled with sequence numbers of the same producer.
    """
    for other in contexts:
        start = other.header.previous_last_seq
        if (other.header.previous_file_id, start) == (header.file_id, last_seq):
            return True
        same = header.producer_id and other.header.producer_id == header.producer_id
        further = other.known_last_seq >= last_seq + (not other.closed)
        if same and other.header.file_id != header.file_id and start <= last_seq and further:
            return True
    return False


def _check(result: Placed, progress: Callable[[int, int], None] | None) -> None:
    """Read the output back: it must hold exactly what was put into it."""
    checked = verify(result.output, progress=progress)
    if checked.problems or checked.records != result.events:
        problem = checked.problems[0] if checked.problems else f"{checked.records:,} of {result.events:,} events"
        raise CorruptRecordError(
            f"the new file did not pass its own check: {problem}; the disk may be failing", path=str(result.output)
        )


class _Output:
    """Places what was kept of one context, in the order of its sequence numbers."""

    def __init__(self, builder: RecordBuilder, result: Placed) -> None:
        self._builder = builder
        self._result = result
        self._number = result.segments

    def write(self, context: Context) -> None:
        builder = self._builder
        builder.start_segment(previous_last_seq=context.header.previous_last_seq)
        items = context.ordered()
        for item, limit in zip(items, _limits(items), strict=True):
            if item.frame is not None:
                self._frame(item.frame, limit, context.damaged)
            elif item.skip is not None:
                self._skip(item.skip, limit)
            elif item.header is not None:
                builder.add_header(item.data, item.header, item.parity)
            else:
                builder.add_skippable(item.data)
        if context.known_last_seq > builder.last_seq:
            self._lose(context.known_last_seq)
        builder.finish_segment()
        self._result.segments += 1

    def _frame(self, frame: KeptFrame, limit: int, damaged: list[tuple[int, int]]) -> None:
        """Place a frame unless its events are there already."""
        last_seq = self._builder.last_seq
        if frame.facts.first_seq <= last_seq:
            self._result.repeats += 1
            return
        frame = frame.covering(*_honest_range(frame, last_seq, limit, damaged))
        if frame.desc.first_seq > self._builder.last_seq + 1:
            self._lose(frame.desc.first_seq - 1)
        if frame.mark is not None:
            self._builder.add_header(*frame.mark)
        self._builder.add_frame(frame.data(), frame.desc, frame.facts.type_counts, frame.facts.ranges)
        self._result.frames += 1
        self._result.events += frame.desc.records
        self._result.rebuilt += frame.rebuilt
        self._result.unverified += 0 if frame.mark is None else frame.desc.records

    def _skip(self, skip: Skip, limit: int) -> None:
        """Place a skip marker as far as no frame has its sequence numbers."""
        if skip.first_seq > self._builder.last_seq + 1:
            self._lose(skip.first_seq - 1)
        skip = Skip(max(skip.first_seq, self._builder.last_seq + 1), min(skip.last_seq, limit), skip.reason)
        if skip.first_seq <= skip.last_seq:
            self._builder.add_skip(skip)

    def _lose(self, last_seq: int) -> None:
        first_seq = self._builder.last_seq + 1
        self._result.lost.append((self._number, first_seq, last_seq))
        self._builder.add_skip(Skip(first_seq, last_seq, SkipReason.CORRUPT))


def _honest_range(frame: KeptFrame, before: int, limit: int, damaged: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the sequence numbers a frame may cover: those of its events and those that no other covers.

    A descriptor that reaches into its neighbours is wrong, so on that side only the events count.
    """
    facts = frame.facts
    first = frame.desc.first_seq if frame.desc.first_seq > before else facts.first_seq
    last = frame.desc.last_seq if frame.desc.last_seq <= limit else facts.last_seq
    for start, end in damaged:
        if before < end < facts.first_seq:
            first = max(first, end + 1)
        if facts.last_seq < start <= last:
            last = start - 1
    return first, last


def _limits(items: Sequence[KeptItem]) -> list[int]:
    """Return for each item the last sequence number it may cover: the events of the next frame have those after it."""
    limits = []
    limit = _HIGHEST
    for item in reversed(items):
        limits.append(limit)
        if item.frame is not None:
            limit = item.frame.facts.first_seq - 1
    limits.reverse()
    return limits


_HIGHEST = (1 << 64) - 1
