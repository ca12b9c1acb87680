"""Events by column at a real collector that validates in full: what contradicts itself is refused, nothing else."""

from __future__ import annotations

import contextlib
import struct
import tempfile
from pathlib import Path
from zlib import crc32

import grpc
import pytest
import zstandard

import esper_telemetry as et
from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter, verify
from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.index import mask_of
from esper_telemetry.recordfile.layout import DESCRIPTOR_BYTES, parse_descriptor
from esper_telemetry.schema.fingerprint import merged_header, schema_fingerprint
from esper_telemetry.v1 import collector_pb2, record_pb2
from tests.esper_telemetry.collector.publisher import (
    START,
    TYPES,
    Produced,
    Publication,
    batch_message,
    element,
    make_batch,
    open_stub,
    publish,
    stored,
)
from tests.esper_telemetry.recordfile.by_column import rewrite_by_column
from tests.esper_telemetry.recordfile.forged_blocks import DOUBLE, LYING, TEXT, VALUE, WRONG, block, frame

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "FRAME_INVALID")


def batch(*blocks, events: bytes = b"", **stated) -> collector_pb2.Batch:
    """Return a Batch of one frame, whose descriptor states three scalars, 1 to 3, unless told otherwise."""
    payload, desc = frame(*blocks, events=events, **stated)
    return collector_pb2.Batch(
        first_seq=desc.first_seq,
        last_seq=desc.last_seq,
        count=desc.records,
        raw_len=desc.raw_size,
        crc32=crc32(payload),
        codec=collector_pb2.CODEC_ZSTD,
        payload=payload,
    )


def sent(collector, first: collector_pb2.Batch) -> tuple[Produced, tuple | None]:
    """Send one frame as a producer's first one; return the producer, and the refusal (None: it is durable)."""
    produced = Produced(frames=1)
    with open_stub(collector.port) as stub:
        stream = Publication(stub).send(produced.hello(), produced.schema, first)
        try:
            stream.acked(first.last_seq)
        except (grpc.RpcError, AssertionError):
            return produced, stream.refusal()
        stream.send(collector_pb2.Close(final_seq=first.last_seq, outcome=collector_pb2.CLOSE_OUTCOME_FINISHED))
        stream.end().messages()
        return produced, None


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_block_that_contradicts_itself_is_refused(shared_collector, change):
    produced, refusal = sent(shared_collector, batch(block(**change)))
    assert refusal == INVALID
    assert stored(shared_collector.folder, produced) == []


@pytest.mark.parametrize("stated", LYING.values(), ids=LYING)
def test_a_block_that_contradicts_its_descriptor_is_refused(shared_collector, stated):
    produced, refusal = sent(shared_collector, batch(block(), **stated))
    assert refusal == INVALID
    assert stored(shared_collector.folder, produced) == []


def test_numbers_that_lie_among_blocks_and_single_events_are_refused(shared_collector):
    twice = batch(block(), block(), records=6)
    beside = batch(block(), events=element(2), records=4, max_time=START + 2)
    ahead = batch(block(seq_steps=b"\1\7"))
    for forged in (twice, beside, ahead):
        assert sent(shared_collector, forged)[1] == INVALID


def test_blocks_that_state_more_values_than_a_frame_may_are_refused(shared_collector):
    """A few bytes may state that very many events share very many values."""
    events = 40_000
    shared = [{"field": number, "type": DOUBLE, "doubles": struct.pack("<d", 1.0)} for number in range(1, 101)]
    bomb = record_pb2.EventBlock(
        type_id=1,
        events=events,
        first_seq=1,
        seq_steps=b"\1" * (events - 1),
        first_time_unix_nano=START,
        time_steps=bytes(events - 1),
        columns=shared,
    )
    stated = {"records": events, "last_seq": events, "max_time": START}
    assert sent(shared_collector, batch(bomb, **stated))[1] == INVALID
    assert "Traceback" not in shared_collector.log()


def test_good_blocks_are_stored_as_they_came_and_counted(shared_collector):
    good = batch(block(), batch_context(), records=6, last_seq=6, max_time=START + 5)
    produced, refusal = sent(shared_collector, good)
    assert refusal is None
    assert stored(shared_collector.folder, produced) == [good.payload]
    (path,) = files_of(shared_collector.folder, produced)
    assert verify(path).good
    events = list(et.read(path))
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.data["value"] for event in events] == [0.5, 1.5, 2.5] * 2
    assert events[4].data["step"] == 2
    assert events[4].data["batch_idx"] == 7


def batch_context() -> record_pb2.EventBlock:
    """Return a block with the numbers 4 to 6 and a context."""
    number = et.v1.context_pb2.Context.DESCRIPTOR.fields_by_name["batch_idx"]
    where = [{"field": number.number, "type": number.type, "first": 7}]
    return block(first_seq=4, first_time_unix_nano=START + 3, context=where)


def files_of(root: Path, produced: Produced) -> list[Path]:
    found = []
    for path in root.glob("*/*.esr.zst"):
        with contextlib.closing(RecordReader(path)) as reader:
            if reader.header.producer_id == produced.producer_id:
                found.append(path)
    return found


def test_a_type_that_the_schema_does_not_declare_is_stored_and_shown_as_its_number(shared_collector):
    """As for events that come one by one: no reader can decode them, but they are not to be lost."""
    strange = batch(block(type_id=9), type_mask=mask_of([9]))
    produced, refusal = sent(shared_collector, strange)
    assert refusal is None
    (path,) = files_of(shared_collector.folder, produced)
    for _ in range(2):
        records = et.read(path)
        assert [(event.type, event.seq) for event in records] == [("type:9", 1), ("type:9", 2), ("type:9", 3)]
        assert records.unknown == {"type:9": 3}
        assert et.table(path, "scalar.logged").num_rows == 0
        compact_file(path, force=True)


def test_a_column_of_another_type_than_the_declared_field_is_stored_and_not_taken_for_it(shared_collector):
    """The block is whole in itself; only a reader with its schema can know."""
    odd = batch(block(changed={VALUE: {"type": TEXT, "doubles": None, "texts": ["a", "b", "c"]}}))
    produced, refusal = sent(shared_collector, odd)
    assert refusal is None
    (path,) = files_of(shared_collector.folder, produced)
    for event in et.read(path):
        assert event.data.get("value") is None
    assert set(et.table(path, "scalar.logged")["value"].to_pylist()) <= {None}


def test_a_stream_by_column_goes_through_whole(shared_collector):
    """Frames as the recorder makes them."""
    produced = Produced(frames=5, per_frame=40)
    with tempfile.TemporaryDirectory() as folder:
        by_column = rewrite_by_column(record_of(produced, Path(folder)), Path(folder) / "columns.esr.zst")
        with RecordReader(by_column) as reader:
            merged = merged_header(reader.header, reader.descriptor_sets)
            produced.refs = list(reader.frames())
            produced.raw = [reader.read_raw(ref) for ref in produced.refs]
    produced.schema = collector_pb2.Schema(fingerprint=schema_fingerprint(merged), header=merged)
    produced.batches = [batch_message(ref, raw) for ref, raw in zip(produced.refs, produced.raw, strict=True)]
    with open_stub(shared_collector.port) as stub:
        assert publish(stub, produced)[-1].ack.durable_seq == 200
    assert stored(shared_collector.folder, produced) == produced.raw
    for raw in produced.raw:
        content = zstandard.decompress(raw[:-DESCRIPTOR_BYTES])
        assert record_pb2.RecordFile.FromString(content).block
        assert parse_descriptor(raw[-DESCRIPTOR_BYTES:]).records == 40


def record_of(produced: Produced, folder: Path) -> Path:
    path = folder / "events.esr.zst"
    known = HeaderInfo(run_id=produced.run_id, producer_id=produced.producer_id, anchor_unix_nano=START)
    writer = RecordWriter(path, known, TYPES)
    for number in range(5):
        writer.write(make_batch(1 + number * 40, 40))
    writer.close()
    return path
