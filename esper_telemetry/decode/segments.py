"""From a segment to events: frames that are not wanted stay closed, payloads unparsed."""

from __future__ import annotations

import contextlib
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode import steps
from esper_telemetry.decode.blockrows import block_events
from esper_telemetry.decode.event import Event, RowEvent, SharingEvent
from esper_telemetry.decode.frameplaces import frames_elsewhere
from esper_telemetry.decode.streams import frames_once
from esper_telemetry.decode.types import Origin
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import Damage
from esper_telemetry.recordfile.frame_events import block_envelopes
from esper_telemetry.recordfile.selection import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esper_telemetry.decode.event_filter import Filter
    from esper_telemetry.decode.faults import Faults
    from esper_telemetry.decode.steps import BlockRow
    from esper_telemetry.decode.tallies import Tallies
    from esper_telemetry.decode.types import EventKind
    from esper_telemetry.recordfile import Envelope, FrameRef, PayloadReader, RecordReader, Segment, Selection
    from esper_telemetry.recordfile.block_columns import BlockColumns
    from esper_telemetry.recordfile.frame_events import FrameContent

# A bit a row is the least that a column takes, so a block that claims more rows than this is no block.
_MOST_ROWS_PER_BYTE = 8
_SEQ = attrgetter("seq")


class SegmentDecoder:
    """Decodes the events of segments; it holds one frame at a time.

    Args:
        wanted: which events.
        faults: where damage and losses are noted.
        expand: whether a block of steps is given as its rows.
        tallies: whole frames that are wanted are counted here and not given as events.
    """

    def __init__(self, wanted: Filter, faults: Faults, *, expand: bool, tallies: Tallies | None = None) -> None:
        self._wanted = wanted
        self._faults = faults
        self._expand = expand
        self._tallies = None if wanted.types is not None or wanted.by_place else tallies
        self._kinds: dict[EventKind, bool] = {}

    def events(self, reader: RecordReader, segment: Segment) -> Iterator[Event]:
        """Yield the events of a segment that are wanted, in file order.

        Raises:
            CorruptRecordError: its descriptors are invalid, or, if the faults are strict, it is damaged.
        """
        return chain.from_iterable(self.chunks(reader, segment))

    def chunks(self, reader: RecordReader, segment: Segment) -> Iterator[Iterable[Event]]:
        """Yield the same events frame by frame: each generator that an event passes through costs 40 ns.

        Raises:
            CorruptRecordError: as `events`.
        """
        if not self._wanted.wants_rank(segment.header.rank):
            return
        origin = self.origin(segment, reader.path)
        selection = self._wanted.selection(origin, expand=self._expand)
        elsewhere = frames_elsewhere(segment, origin, self._wanted)
        for item in self._faults.frames(reader.path, segment):
            if item.offset in elsewhere:
                continue
            if self._tallies is not None and selection.covers(item):
                self._tally(self._tallies, reader, item, origin)
            else:
                yield self._frame(reader, item, origin, selection)

    def events_once(self, copies: Sequence[tuple[RecordReader, Segment]]) -> Iterator[Event]:
        """Yield the events of segments that hold the same sequence numbers, each once, from any that has a frame whole.

        Raises:
            CorruptRecordError: as `events`, for what no copy has whole.
        """
        if not self._wanted.wants_rank(copies[0][1].header.rank):
            return
        known = {id(segment): (reader, self.origin(segment, reader.path)) for reader, segment in copies}
        elsewhere = {id(one): frames_elsewhere(one, known[id(one)][1], self._wanted) for _, one in copies}
        reached = 0
        for frames in frames_once(segment for _, segment in copies):
            if any(frame.offset in elsewhere[id(segment)] for segment, frame in frames):
                reached = frames[0][1].last_seq
                continue
            segment, frame = next((one for one in frames if _whole(known[id(one[0])][0], one[1])), frames[0])
            reader, origin = known[id(segment)]
            for event in self._frame(reader, frame, origin, self._wanted.selection(origin, expand=self._expand)):
                if event.seq > reached:
                    yield event
            reached = frame.last_seq

    def last_events(self, reader: RecordReader, segment: Segment) -> Iterator[list[Event]]:
        """Yield the events that are wanted, frame by frame from the last one backwards.

        Raises:
            CorruptRecordError: as `events`.
        """
        origin = self.origin(segment, reader.path)
        selection = self._wanted.selection(origin, expand=self._expand)
        elsewhere = frames_elsewhere(segment, origin, self._wanted)
        for frame in reversed([frame for frame in segment.frames if frame.offset not in elsewhere]):
            yield list(self._frame(reader, frame, origin, selection))

    def arrived(
        self, reader: PayloadReader, payload: bytes, origin: Origin, numbers: tuple[int, int]
    ) -> Iterator[Event]:
        """Yield the events that are wanted of a frame that came by itself.

        Args:
            reader: decompresses it.
            payload: the frame and its descriptor.
            origin: its segment.
            numbers: first and last sequence number that it is stated to cover.

        Raises:
            CorruptRecordError: it is damaged, and the faults are strict.
        """
        selection = self._wanted.selection(origin, expand=self._expand)
        try:
            content = reader.read_content(payload, selection)
        except CorruptRecordError as error:
            self._faults.damaged(reader.path, Damage(0, len(payload), error.reason, *numbers))
        else:
            yield from self._content(content, origin, selection)

    def followed(self, content: FrameContent, origin: Origin, after: int) -> Iterator[Event]:
        """Yield the events that are wanted of a frame that was read whole.

        Args:
            content: the frame.
            origin: its segment.
            after: events up to this sequence number are left out.
        """
        selection = self._wanted.selection(origin, expand=self._expand)
        single = [event for event in content.events if event.seq > after and selection.keeps(event)]
        for event in self._content(content._replace(events=single), origin, selection):
            if event.seq > after:
                yield event

    def origin(self, segment: Segment, path: str) -> Origin:
        """Return what the events of a segment share, as far as its headers have been read.

        Raises:
            CorruptRecordError: its descriptors are invalid.
        """
        return Origin(segment, path, self._faults.unknown)

    def decoded(
        self, envelopes: Iterable[Envelope], origin: Origin, *, whole: bool, sizes: Mapping[int, int] | None = None
    ) -> Iterator[Event]:
        """Yield the events of a frame that are wanted.

        Args:
            envelopes: the frame.
            origin: its segment.
            whole: time, sequence number and type are wanted, as the frame's descriptor states.
            sizes: bytes that each took, by sequence number; None where they came one by one.
        """
        kinds, wanted = origin.kinds, self._wanted
        blocks = origin.block_ids if self._expand else frozenset()
        settled = whole and not wanted.by_place
        for envelope in envelopes:
            if not (whole or wanted.covers(envelope)):
                continue
            type_id = envelope.type_id
            kind = kinds[type_id]
            if type_id in blocks:
                yield from self._rows(_event(kind, origin, envelope, sizes), kind, origin, envelope.context)
            elif settled or (self._wants(kind) and self._in_place(kind, origin, envelope)):
                if kind.cls is None:
                    origin.undecodable(kind)
                yield _event(kind, origin, envelope, sizes)

    def _tally(self, tallies: Tallies, reader: RecordReader, frame: FrameRef, origin: Origin) -> None:
        try:
            tallies.add_frame(origin, reader.read_content(frame, EVERYTHING))
        except CorruptRecordError as error:
            self._faults.unreadable(reader.path, frame, error)

    def _frame(self, reader: RecordReader, frame: FrameRef, origin: Origin, selection: Selection) -> Iterable[Event]:
        if not selection.concerns(frame):
            return ()
        try:
            content = reader.read_content(frame, selection)
        except CorruptRecordError as error:
            self._faults.unreadable(reader.path, frame, error)
            return ()
        return self._content(content, origin, selection)

    def _content(self, content: FrameContent, origin: Origin, selection: Selection) -> Iterable[Event]:
        """Return the events of a frame that are wanted, by number."""
        whole = self._chose_types(selection)
        single = self.decoded(content.events, origin, whole=whole)
        if not content.blocks:
            return single
        parts = [*(self._block(block, origin, selection) for block in content.blocks), list(single)]
        found = [part for part in parts if part]
        return found[0] if len(found) == 1 else sorted(chain.from_iterable(found), key=_SEQ)

    def _block(self, block: BlockColumns, origin: Origin, selection: Selection) -> Sequence[Event]:
        """Return the events of a block that are wanted."""
        type_id = block.type_id
        kind = origin.kinds[type_id]
        rows_wanted = self._expand and type_id in origin.block_ids
        if not (rows_wanted or self._wants(kind)):
            return []
        places = selection.places(block.seqs, block.times)
        if not rows_wanted and (events := block_events(block, kind, origin, places, self._wanted)) is not None:
            return events
        envelopes = block_envelopes(block)
        sizes = dict(zip(block.seqs, block.sizes(), strict=True))
        return list(self.decoded([envelopes[place] for place in places], origin, whole=True, sizes=sizes))

    def _chose_types(self, selection: Selection) -> bool:
        """Tell whether what `selection` leaves in has a type that is wanted, so that it need not be asked again."""
        return selection.type_ids is not None or self._wanted.types is None

    def _rows(self, block: Event, kind: EventKind, origin: Origin, context: bytes) -> Iterator[Event]:
        """Yield the rows of a block of steps that are wanted; a block that cannot be expanded stays as it is."""
        try:
            rows = self._expanded(block, origin, context)
        except CorruptRecordError:
            origin.undecodable(kind)
            if self._wants(kind):
                yield block
            return
        share, rest = divmod(block.size, max(1, len(rows)))
        for at, row in enumerate(rows):
            row_kind = origin.schema.kind(row.type_name)
            if self._wants(row_kind) and self._wanted.wants_place(row.context | row.payload):
                yield RowEvent(row_kind, origin, row, share + (at < rest), at)

    def _expanded(self, block: Event, origin: Origin, context: bytes) -> list[BlockRow]:
        message: Any = block.message
        count = steps.rows(message)
        if count > _MOST_ROWS_PER_BYTE * len(block.payload):
            raise CorruptRecordError(f"a block of {len(block.payload):,} bytes claims {count:,} rows")
        kind = origin.schema.kind(message.row_type)
        if not self._wants(kind):
            return []
        plain = origin.schema.context(context)
        return list(
            steps.expand(message, kind.cls, context=dict(plain), time_unix_nano=block.time_unix_nano, seq=block.seq)
        )

    def _wants(self, kind: EventKind) -> bool:
        wants = self._kinds.get(kind)
        if wants is None:
            wants = self._kinds[kind] = self._wanted.wants(kind)
        return wants

    def _in_place(self, kind: EventKind, origin: Origin, envelope: Envelope) -> bool:
        if not self._wanted.by_place:
            return True
        place: Mapping[str, Any] = origin.schema.context(envelope.context)
        if kind.hidden_context and kind.plain is not None:
            with contextlib.suppress(CorruptRecordError):  # counted when it is shown
                place = {**place, **kind.plain(kind.parse(envelope.payload))}
        return self._wanted.wants_place(place)


def _event(kind: EventKind, origin: Origin, envelope: Envelope, sizes: Mapping[int, int] | None) -> Event:
    return Event(kind, origin, envelope) if sizes is None else SharingEvent(kind, origin, envelope, sizes[envelope.seq])


def _whole(reader: RecordReader, frame: FrameRef) -> bool:
    """Tell whether a frame can be read here: it may be damaged in one copy of a file, and whole in another."""
    try:
        reader.decompress(frame)
    except CorruptRecordError:
        return False
    return True
