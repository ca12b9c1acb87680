"""Saves what can be saved of a damaged or cut record into a new file; the damaged one is never touched.

Whole frames are kept byte for byte. Of a cut last frame the whole events are kept in
a frame of their own, which a header marks as unverified. Ranges that are lost are marked
as such. The output is read back and verified before anybody is told that it worked, and
recovering it again gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, NotARecordError, UnsupportedRecordError
from esper_telemetry.recordfile.builder import RecordBuilder
from esper_telemetry.recordfile.foreign import looks_like
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.keep import Keep
from esper_telemetry.recordfile.layout import Skip, SkipReason
from esper_telemetry.recordfile.salvage import salvage
from esper_telemetry.recordfile.scan import scan
from esper_telemetry.recordfile.source import open_source
from esper_telemetry.recordfile.verify import verify

if TYPE_CHECKING:
    import os

    from esper_telemetry.recordfile.damage import Damage
    from esper_telemetry.recordfile.keep import Context, KeptFrame
    from esper_telemetry.recordfile.source import Source


@dataclass(slots=True)
class Recovery:
    """What a recovery did.

    Attributes:
        path: the damaged file.
        output: the new file.
        segments: segments in the output.
        frames: data frames in the output.
        events: events in the output.
        rebuilt: frames of these that were whole, but whose descriptor had to be made again.
        unverified: events of these from a cut frame: no checksum covers them.
        repeats: frames left out because their numbers were there already.
        damage: what could not be read, in file order.
        lost: ranges of numbers that are gone: segment from 0, first and last number.
        lost_bytes: bytes of the damaged file that are in nothing kept (footers aside: they are made again).
        open_end: events of a cut last frame are gone, and nothing says how many.
    """

    path: str
    output: Path
    segments: int = 0
    frames: int = 0
    events: int = 0
    rebuilt: int = 0
    unverified: int = 0
    repeats: int = 0
    damage: list[Damage] = field(default_factory=list)
    lost: list[tuple[int, int, int]] = field(default_factory=list)
    lost_bytes: int = 0
    open_end: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing was lost (exit code 0), as far as the file can tell; else 3."""
        return not (self.lost or self.open_end)

    @property
    def lost_numbers(self) -> int:
        """How many numbers are known to be gone."""
        return sum(last - first + 1 for _, first, last in self.lost)


def recover(source: str | os.PathLike[str] | bytes | Source, output: str | os.PathLike[str]) -> Recovery:
    """Write everything that is whole in `source` to the new file `output`.

    Returns:
        What was kept and what was lost.

    Raises:
        NotARecordError: nothing of a record is in it.
        CorruptRecordError: no header could be read, so nothing says what the frames hold.
        SinkError: the output exists already or cannot be written.
    """
    opened = open_source(source)
    try:
        decoder = FrameDecoder()
        keep = Keep(opened, decoder)
        keep.add_all(salvage(opened, decoder, scan(opened)))
        if not keep.contexts:
            raise _nothing(opened)
        result = Recovery(opened.name, Path(output), damage=keep.damage, lost_bytes=keep.lost_bytes)
        result.open_end = keep.open_end
        with RecordBuilder(result.output) as builder:
            for context in keep.contexts:
                _Output(builder, result).write(context)
            builder.sync()
            _check(result)
        return result
    finally:
        opened.close()


def _nothing(source: Source) -> CorruptRecordError | NotARecordError | UnsupportedRecordError:
    start = source.read_at(0, 24)
    if b"ESPERREC" in start or source.size == 0:
        return CorruptRecordError("no header can be read, so nothing is recoverable", path=source.name, offset=0)
    return NotARecordError(f"nothing of a record is in it: {looks_like(start)}; check the path", path=source.name)


def _check(result: Recovery) -> None:
    """Read the output back: it must say exactly what was put into it."""
    checked = verify(result.output)
    if checked.problems or checked.records != result.events:
        problem = checked.problems[0] if checked.problems else f"{checked.records:,} of {result.events:,} events"
        raise CorruptRecordError(
            f"the recovered file did not pass its own check: {problem}; the disk may be failing",
            path=str(result.output),
        )


class _Output:
    """Places what was kept of one context, in the order of its numbers."""

    def __init__(self, builder: RecordBuilder, result: Recovery) -> None:
        self._builder = builder
        self._result = result
        self._number = result.segments

    def write(self, context: Context) -> None:
        builder = self._builder
        builder.start_segment(previous_last_seq=context.header.previous_last_seq)
        for item in context.ordered():
            if item.frame is not None:
                self._frame(item.frame)
            elif item.skip is not None:
                self._skip(item.skip)
            elif item.header is not None:
                builder.add_header(item.data, item.header)
            else:
                builder.add_skippable(item.data)
        if context.known_last_seq > builder.last_seq:
            self._lose(context.known_last_seq)
        builder.finish_segment()
        self._result.segments += 1

    def _frame(self, frame: KeptFrame) -> None:
        if frame.desc.first_seq <= self._builder.last_seq:
            self._result.repeats += 1
            return
        if frame.desc.first_seq > self._builder.last_seq + 1:
            self._lose(frame.desc.first_seq - 1)
        if frame.mark is not None:
            self._builder.add_header(*frame.mark)
        self._builder.add_frame(frame.data, frame.desc, frame.type_counts)
        self._result.frames += 1
        self._result.events += frame.desc.records
        self._result.rebuilt += frame.rebuilt
        self._result.unverified += 0 if frame.mark is None else frame.desc.records

    def _skip(self, skip: Skip) -> None:
        if skip.last_seq <= self._builder.last_seq:
            return
        if skip.first_seq > self._builder.last_seq + 1:
            self._lose(skip.first_seq - 1)
        self._builder.add_skip(skip._replace(first_seq=self._builder.last_seq + 1))

    def _lose(self, last_seq: int) -> None:
        first_seq = self._builder.last_seq + 1
        self._result.lost.append((self._number, first_seq, last_seq))
        self._builder.add_skip(Skip(first_seq, last_seq, SkipReason.CORRUPT))
