"""Records to record batches, one type beside the other, in bounded memory.

Frames of several segments, and of several runs, are decoded together where they have the same schema: a hundred short
runs cost little more than a long one. What a run may hold never decides a column; see `layouts`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from esper_telemetry.decode.steps import rows as rows_of_block
from esper_telemetry.decode.types import CONTEXT, STEP_BLOCK, descriptor_of
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.tables.blockarrays import FEW_EVENTS, block_shape, shape_key
from esper_telemetry.tables.columntypes import TEXT, TIME
from esper_telemetry.tables.conversion import conformed
from esper_telemetry.tables.envelopes import BATCH_BYTES, BATCH_EVENTS, RawFrame, decode_frames, in_order
from esper_telemetry.tables.layouts import PAYLOAD
from esper_telemetry.tables.payloads import PayloadDecoder
from esper_telemetry.tables.places import in_place
from esper_telemetry.tables.raw_frames import RawFrames
from esper_telemetry.tables.stepcolumns import step_columns
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esper_telemetry.decode import Filter, Survey
    from esper_telemetry.decode.faults import Faults
    from esper_telemetry.decode.types import Schema
    from esper_telemetry.tables.blockarrays import BlockShape, ShapeKey
    from esper_telemetry.tables.envelopes import Blocks, Envelopes, Home
    from esper_telemetry.tables.layouts import Layouts, TableLayout

    Batches = Iterator[tuple[TableLayout, pa.RecordBatch]]

# A bit a row is the least that a column takes, so a block that claims more rows than this is no block.
_MOST_ROWS_PER_BYTE = 8


class Scanner:
    """Reads the events that are wanted as batches of their tables. Not for use by two threads at once.

    Args:
        found: the records.
        layouts: the tables of the records.
        wanted: which events; its types are full names.
        faults: where damage and losses are noted.
        expand: give blocks of steps as the rows of their rows' table.
        latest: leave out what a later attempt at a run did again.
        fast: use ptars where it is installed.
        spans: as for `RawFrames`.
    """

    def __init__(
        self,
        found: Survey,
        layouts: Layouts,
        wanted: Filter,
        faults: Faults,
        *,
        expand: bool = True,
        latest: bool = False,
        fast: bool = True,
        spans: Mapping[tuple[str, int, bytes], tuple[int, int]] | None = None,
    ) -> None:
        self._frames = RawFrames(found, wanted, faults, expand=expand, latest=latest, spans=spans)
        self._layouts = layouts
        self._wanted = wanted
        self._names = None if wanted.types is None else frozenset(wanted.types)
        self._faults = faults
        self._expand = expand
        self._fast = fast
        self._decoders: dict[int, _Decoders] = {}

    def __iter__(self) -> Batches:
        for frames in _together(self._frames):
            yield from self._batches(frames)
        for name, count in self._refused().items():
            self._faults.unknown[name] += count
            self._faults.warnings.append(f"{count:,} events of {name} do not fit their type; their fields are NULL")

    def _refused(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for decoders in self._decoders.values():
            total += decoders.refused
        return total

    def _batches(self, frames: Sequence[RawFrame]) -> Batches:
        found = decode_frames(frames, self._unreadable, self, fast=self._fast)
        if not found.whole:
            return
        pieces: dict[int, list[_Piece]] = defaultdict(list)
        for blocks in found.blocks:
            pieces[blocks.type_id] += self._of_blocks(blocks, found.whole)
        home = found.whole[0].home
        decoders = self._decoders_of(home)
        mask = self._mask(found.events, found.whole)
        events = found.events if mask is None else found.events.filter(mask)
        present = pc.unique(events.type_id).to_pylist()
        for type_id in sorted({*present, *pieces}):
            full_name = home.types.get(type_id, f"type:{type_id}")
            is_block = full_name == STEP_BLOCK and self._expand
            if not is_block and not self._wants(full_name):
                continue
            chosen = events if present == [type_id] else events.filter(pc.equal(events.type_id, type_id))
            if is_block:
                yield from self._blocks(chosen, found.whole, decoders)
                continue
            layout = self._layouts.of(full_name)
            several = [*pieces[type_id], *self._events(layout, chosen, found.whole, decoders)]
            if several:
                yield layout, _joined(several)

    def _decoders_of(self, home: Home) -> _Decoders:
        schema = home.origin.schema
        decoders = self._decoders.get(id(schema))
        if decoders is None:
            decoders = self._decoders[id(schema)] = _Decoders(schema, fast=self._fast)
        return decoders

    def wants_block(self, home: Home, type_id: int) -> bool:
        """Tell whether the events of a block of such a type are wanted."""
        full_name = home.types.get(type_id, f"type:{type_id}")
        return self._wants(full_name) or (full_name == STEP_BLOCK and self._expand)

    def shape(self, home: Home, block: Any) -> BlockShape | None:
        """Return what a block is read as arrays with; None where it is not worth that, or not declared so."""
        if block.events < FEW_EVENTS or len(block.payloads) or not self.wants_block(home, block.type_id):
            return None
        return self._decoders_of(home).shape(home, shape_key(block))

    def _of_blocks(self, blocks: Blocks, frames: Sequence[RawFrame]) -> Iterator[_Piece]:
        """Yield what is wanted of blocks that were read as arrays."""
        type_id, frame, arrays = blocks
        layout = self._layouts.of(frames[0].home.types[type_id])
        place = _Place(frame, arrays.seq, arrays.time)
        masks = [self._mask(place, frames), in_place(self._wanted, arrays.payload, arrays.context, len(frame))]
        masks = [mask for mask in masks if mask is not None]
        if masks:
            mask = masks[0] if len(masks) == 1 else pc.and_(*masks)
            arrays = arrays.filter(mask)
            place = _Place(frame.filter(mask), arrays.seq, arrays.time)
        if len(place.seq):
            yield _Piece(layout, place, _batch(layout, frames, place, arrays.context, arrays.payload))

    def _wants(self, full_name: str) -> bool:
        return self._names is None or full_name in self._names

    def _unreadable(self, frame: RawFrame, error: CorruptRecordError) -> None:
        self._faults.unreadable(frame.home.origin.path, frame.ref, error)

    def _mask(self, events: Envelopes | _Place, frames: Sequence[RawFrame]) -> pa.Array | None:
        """Return which events are wanted by time and number; None if all are."""
        wanted, masks = self._wanted, []
        if wanted.since_ns is not None:
            masks.append(pc.greater_equal(events.time, pa.scalar(max(0, wanted.since_ns), pa.uint64())))
        if wanted.until_ns is not None:
            masks.append(pc.less(events.time, pa.scalar(max(0, wanted.until_ns), pa.uint64())))
        if wanted.first_seq is not None:
            masks.append(pc.greater_equal(events.seq, pa.scalar(max(0, wanted.first_seq), pa.uint64())))
        if wanted.last_seq is not None:
            masks.append(pc.less_equal(events.seq, pa.scalar(max(0, wanted.last_seq), pa.uint64())))
        if any(frame.above for frame in frames):
            above = pa.array([frame.above for frame in frames], pa.uint64()).take(events.frame)
            masks.append(pc.greater(events.seq, above))
        if any(frame.last is not None for frame in frames):
            last = pa.array([None if frame.last is None else frame.last[0] for frame in frames], pa.uint64())
            masks.append(pc.fill_null(pc.less_equal(events.seq, last.take(events.frame)), True))  # noqa: FBT003 - Arrow's
        mask = None
        for one in masks:
            mask = one if mask is None else pc.and_(mask, one)
        return mask

    def _events(
        self, layout: TableLayout, events: Envelopes, frames: Sequence[RawFrame], decoders: _Decoders
    ) -> Iterator[_Piece]:
        context = decoders.context(events.context)
        own = [name for name in self._wanted.place_names if name in layout.payload]
        if not own:  # the context decides alone: no payload of another place is parsed
            events, context, _ = self._placed(events, context, {})
        if not len(events.seq):
            return
        decoder = decoders.of(layout.full_name)
        if decoder is None:
            self._faults.unknown[layout.name] += len(events.seq)
            payload = {PAYLOAD: events.payload}
        else:
            payload = dict(zip(decoder.names, decoder.columns(events.payload), strict=True))
        if own:
            events, context, payload = self._placed(events, context, payload)
            if not len(events.seq):
                return
        place = _Place(events.frame, events.seq, events.time)
        yield _Piece(layout, place, _batch(layout, frames, place, context, payload))

    def _placed(
        self, events: Envelopes, context: dict[str, pa.Array], payload: dict[str, pa.Array]
    ) -> tuple[Envelopes, dict[str, pa.Array], dict[str, pa.Array]]:
        """Return what of some events is wanted by environment, batch and step."""
        mask = in_place(self._wanted, payload, context, len(events.seq))
        if mask is None:
            return events, context, payload
        where, own = ({name: one.filter(mask) for name, one in columns.items()} for columns in (context, payload))
        return events.filter(mask), where, own

    def _blocks(self, blocks: Envelopes, frames: Sequence[RawFrame], decoders: _Decoders) -> Batches:
        """Yield the rows of each block; blocks that cannot be expanded stay what they are, if those are wanted."""
        broken = []
        columns = (column.to_pylist() for column in blocks[1:])
        for at, (time, seq, context, payload, number) in enumerate(zip(*columns, strict=True)):
            try:
                yield from self._rows(payload, context, _Place(number, seq, time), frames, decoders)
            except CorruptRecordError:
                broken.append(at)
        if broken:
            kind = decoders.schema.kind(STEP_BLOCK)
            self._faults.unknown[kind.name] += len(broken)
            if self._wants(kind.full_name):
                rest = blocks.filter(
                    pc.is_in(pa.array(range(len(blocks.seq)), pa.int32()), pa.array(broken, pa.int32()))
                )
                for piece in self._events(self._layouts.of(STEP_BLOCK), rest, frames, decoders):
                    yield piece.layout, piece.batch

    def _rows(
        self, payload: bytes, context: bytes, place: _Place, frames: Sequence[RawFrame], decoders: _Decoders
    ) -> Batches:
        schema = decoders.schema
        block: Any = schema.kind(STEP_BLOCK).parse(payload)
        count = rows_of_block(block)
        if count > _MOST_ROWS_PER_BYTE * len(payload):
            raise CorruptRecordError(f"a block of {len(payload):,} bytes claims {count:,} rows")
        kind = schema.kind(block.row_type)
        if not self._wants(kind.full_name):
            return
        row = None if kind.cls is None else descriptor_of(kind.cls)
        bound = schema.context(context)
        found = step_columns(
            block, row, decoders.context_descriptor, bound=bound, time_unix_nano=place.time, seq=place.seq
        )
        keep = in_place(self._wanted, found.payload, found.context, found.rows)
        last = frames[place.frame].last
        if last is not None and last[0] == place.seq:  # a later attempt did the rest of the block again
            within = pc.less_equal(pa.array(range(found.rows), pa.int32()), last[1])
            keep = within if keep is None else pc.and_(keep, within)
        if keep is not None:
            found = found.filter(keep)
        if found.rows:
            layout = self._layouts.of(kind.full_name)
            numbers = pa.repeat(pa.scalar(place.frame, pa.int32()), found.rows)
            seqs = pa.repeat(pa.scalar(place.seq, pa.uint64()), found.rows)
            places = _Place(numbers, seqs, found.time)
            yield layout, _batch(layout, frames, places, found.context, found.payload)


class _Place(NamedTuple):
    """Where events are: the position of their frame among those decoded, number, and time."""

    frame: Any
    seq: Any
    time: Any


class _Piece(NamedTuple):
    """Some events of a table, in order."""

    layout: TableLayout
    place: _Place
    batch: pa.RecordBatch


def _joined(pieces: list[_Piece]) -> pa.RecordBatch:
    """Return pieces of one table as a batch, in the order of their numbers."""
    if len(pieces) == 1:
        return pieces[0].batch
    ordered = sorted(pieces, key=_first)
    whole = pa.concat_batches([piece.batch for piece in ordered])
    if all(_last(one) < _first(other) for one, other in pairwise(ordered)):
        return whole
    frame, seq = (pa.concat_arrays([piece.place[at] for piece in ordered]) for at in (0, 1))
    return whole.take(in_order(frame, seq))


def _first(piece: _Piece) -> tuple[int, int]:
    return piece.place.frame[0].as_py(), piece.place.seq[0].as_py()


def _last(piece: _Piece) -> tuple[int, int]:
    return piece.place.frame[-1].as_py(), piece.place.seq[-1].as_py()


class _Decoders:
    """The decoders of the types of one schema, made when they are needed."""

    def __init__(self, schema: Schema, *, fast: bool) -> None:
        self.schema = schema
        self._fast = fast
        self._pools: dict[str, Any] = {}
        self._by_name: dict[str, PayloadDecoder | None] = {}
        cls = schema.message_class(CONTEXT) or context_pb2.Context
        self.context_descriptor = descriptor_of(cls)
        self._context = PayloadDecoder(cls, self._pools, fast=fast)
        self._shapes: dict[tuple[str, ShapeKey], BlockShape | None] = {}

    def of(self, full_name: str) -> PayloadDecoder | None:
        """Return the decoder of a type; None where the record does not declare it."""
        if full_name not in self._by_name:
            cls = self.schema.message_class(full_name)
            self._by_name[full_name] = None if cls is None else PayloadDecoder(cls, self._pools, fast=self._fast)
        return self._by_name[full_name]

    def shape(self, home: Home, key: ShapeKey) -> BlockShape | None:
        """Return the shape of blocks, one object for all of them; None where they cannot be read as arrays."""
        known = home.types.get(key.type_id, ""), key
        if known not in self._shapes:
            cls = self.schema.message_class(known[0])
            made = None if cls is None else block_shape(key, descriptor_of(cls), self.context_descriptor)
            self._shapes[known] = made
        return self._shapes[known]

    def context(self, serialized: pa.Array) -> dict[str, pa.Array]:
        """Return a column for each field of Context. Few different ones come over and over: each is decoded once."""
        encoded = serialized.dictionary_encode()
        columns = self._context.columns(encoded.dictionary)
        return {
            name: column.take(encoded.indices)
            for name, column in zip(self._context.names, columns, strict=True)
            if column.null_count < len(column)
        }

    @property
    def refused(self) -> Counter[str]:
        """Payloads and contexts so far that do not fit their type, by the type's name."""
        found = {name: decoder.refused for name, decoder in self._by_name.items() if decoder is not None}
        return Counter({**found, CONTEXT: self._context.refused})


def _together(frames: Iterable[RawFrame]) -> Iterator[list[RawFrame]]:
    """Yield neighbouring frames of the same schema together, some MiB at a time."""
    group: list[RawFrame] = []
    size = events = 0
    for frame in frames:
        full = size + len(frame.raw) > BATCH_BYTES or events + frame.ref.records > BATCH_EVENTS
        if group and (full or frame.home.key != group[0].home.key):
            yield group
            group, size, events = [], 0, 0
        group.append(frame)
        size += len(frame.raw)
        events += frame.ref.records
    if group:
        yield group


def _batch(
    layout: TableLayout,
    frames: Sequence[RawFrame],
    place: _Place,
    context: Mapping[str, pa.Array],
    payload: Mapping[str, pa.Array],
) -> pa.RecordBatch:
    """Return columns as a batch of a table; fields that this version of the type does not have are NULL."""
    rows = len(place.seq)
    origins = [frame.home.origin for frame in frames]
    found = {
        layout.base["run"]: _named([origin.run_id for origin in origins], place.frame),
        layout.base["stream"]: _named([origin.stream for origin in origins], place.frame),
        layout.base["rank"]: pa.array([origin.rank for origin in origins], pa.uint32()).take(place.frame),
        layout.base["attempt"]: pa.array([origin.attempt for origin in origins], pa.uint32()).take(place.frame),
        layout.base["seq"]: place.seq,
        layout.base["time"]: place.time.view(pa.int64()).cast(TIME),
        **{layout.context[name]: column for name, column in context.items() if name in layout.context},
        **{name: column for name, column in payload.items() if name in layout.payload},
    }
    columns = [
        conformed(found[field.name], field.type) if field.name in found else pa.nulls(rows, field.type)
        for field in layout.schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=layout.schema)


def _named(texts: Sequence[str], number: pa.Array) -> pa.DictionaryArray:
    """Return the text of each frame for each of its events."""
    encoded = pa.array(texts, pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.take(number), encoded.dictionary).cast(TEXT)
