"""Schemas that grow, begin anew or contradict: what one segment of the collector takes, and what its reader sees."""

from __future__ import annotations

import itertools

import pytest

import esper_telemetry as et
from esper_telemetry import decode
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.collector.subscription import SegmentCursor
from esper_telemetry.recordfile import verify
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.storage.declarations import Declarations
from esper_telemetry.storage.engine import PutFrame, PutSchema, Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import recover
from esper_telemetry.uplink.segment_frames import Frame, SegmentFrames
from esper_telemetry.v1 import collector_pb2, record_pb2


@pytest.fixture
def run(tmp_path):
    """A real run in two segments, each with types of its own."""
    options = et.RecordOptions(segment_bytes=1)
    with et.start_run(tmp_path / "runs", name="grows", record=options) as run:
        run.emit(et.events.ScalarLogged, name="a", value=1.0)
        run.flush()
        run.emit(et.events.Throughput, fps=9.0)
        run.emit(et.events.ScalarLogged, name="b", value=2.0)
    return run


def frames_of(run) -> list[Frame]:
    found = []
    for path in sorted(run.folder.glob("*.esr.zst")):
        segment = SegmentFrames(path)
        while isinstance(frame := segment.read(), Frame):
            found.append(frame._replace(payload=bytes(frame.payload)))
    assert len({frame.schema.fingerprint for frame in found}) > 2
    return found


def key_of(frame: Frame) -> ProducerKey:
    return ProducerKey(frame.schema.header.run_id, frame.schema.header.producer_id)


def checked(frame: Frame) -> PutSchema:
    """Return what the collector stores of the schema that a producer announces before a frame."""
    schema = collector_pb2.Schema(fingerprint=frame.schema.fingerprint, header=frame.schema.header)
    return SchemaCheck(CollectorLimits()).check(schema, key_of(frame))


def store(root, frames) -> ProducerFiles:
    root.mkdir()
    files = ProducerFiles(root, key_of(frames[0]))
    announced = b""
    for frame in frames:
        if frame.schema.fingerprint != announced:
            announced = frame.schema.fingerprint
            files.apply(checked(frame))
        files.apply(PutFrame(frame.payload, frame.descriptor))
    files.sync()
    return files


def lines(folder) -> list[tuple]:
    return [(event.seq, event.type, event.data) for event in decode.read(folder, strict=False)]


def test_a_schema_that_grows_and_begins_anew_stays_in_one_segment(run, tmp_path):
    frames = frames_of(run)
    files = store(tmp_path / "collected", frames)
    files.apply(Seal())
    (path,) = (tmp_path / "collected").glob("*/*.esr.zst")
    assert verify(path).good
    assert lines(path.parent) == lines(run.folder)


def test_a_segment_with_several_headers_is_sealed_after_a_kill(run, tmp_path):
    frames = frames_of(run)
    files = store(tmp_path / "collected", frames)
    files._appender._file.close()
    (path,) = (tmp_path / "collected").glob("*/*.esr.zst")
    found = recover(tmp_path / "collected").producers[key_of(frames[0])]
    assert found.durable_seq == frames[-1].last_seq
    assert verify(path).good
    assert lines(path.parent) == lines(run.folder)


def test_a_reader_is_given_all_that_is_declared_so_far(run, tmp_path):
    files = store(tmp_path / "collected", frames_of(run))
    cursor = SegmentCursor(files, frozenset(), 0)
    sent = []
    while frames := cursor.read():
        sent += frames
    cursor.close()
    schemas = [frame.schema for frame in sent if frame.HasField("schema")]
    assert len(schemas) > 2
    names = [{entry.full_name.rpartition(".")[2] for entry in schema.header.types} for schema in schemas]
    assert all(one < other for one, other in itertools.pairwise(names))
    assert {"RunStarted", "ScalarLogged", "Throughput", "RunFinished"} <= names[-1]
    assert all(schema_fingerprint(schema.header) == schema.fingerprint for schema in schemas)
    wanted = SegmentCursor(files, frozenset({"scalar.logged"}), 0)
    first = next(frame for frame in wanted.read() if frame.HasField("batch"))
    assert first.batch.first_seq > 1, "frames without the type are left out, by the types of the last header"


def put(*types, descriptors=b"") -> PutSchema:
    entries = [record_pb2.TypeEntry(type_id=number, full_name=name) for number, name in types]
    return PutSchema(record_pb2.Header(types=entries), descriptors)


def test_what_is_there_is_not_declared_again():
    declared = Declarations(put((1, "a.A"), (2, "a.B")))
    assert declared.add(put((2, "a.B"))) == record_pb2.Header()
    assert [entry.type_id for entry in declared.add(put((3, "a.C"), (1, "a.A"))).types] == [3]


def test_a_contradiction_is_refused_and_nothing_of_it_taken(run):
    first = checked(frames_of(run)[0])
    declared = Declarations(first)
    renamed = put((first.header.types[0].type_id, "other.Name"))
    assert declared.add(renamed) is None
    changed = first.descriptors.replace(b"Wall time", b"Well time")
    other = first._replace(descriptors=changed.replace(b"step", b"stop"))
    assert declared.add(other) is None
    assert declared.add(first) == record_pb2.Header()
