import pytest

from esper_telemetry.collector.subscription import SegmentCursor
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import StoredProducer, StoredSegment
from esper_telemetry.v1 import record_pb2
from tests.esper_telemetry.collector.publisher import Produced
from tests.esper_telemetry.storage.test_recovery import write

PER_FRAME = 30


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=6, per_frame=PER_FRAME)


def files_of(root, produced, *paths) -> ProducerFiles:
    key = ProducerKey(produced.run_id, produced.producer_id)
    segments = []
    for path in paths:
        with RecordReader(path) as reader:
            segments.append(StoredSegment(path, record_pb2.Header(), reader.segments[0].last_seq, reader.closed))
    return ProducerFiles(root, key, StoredProducer(key, segments))


@pytest.fixture
def files(tmp_path, produced):
    """Two segments of three frames each."""
    one = write(tmp_path, produced, range(3), seal=True)
    two = write(tmp_path, produced, range(3, 6), segment=2, last_seq=3 * PER_FRAME)
    return files_of(tmp_path, produced, one, two)


def read_all(cursor) -> list:
    found = []
    while frames := cursor.read():
        found += frames
    cursor.close()
    return found


def test_a_cursor_gives_schemas_and_frames_as_they_were_sent(files, produced):
    found = read_all(SegmentCursor(files, frozenset(), 0))
    assert [frame.WhichOneof("content") for frame in found] == ["schema", *["batch"] * 3, "schema", *["batch"] * 3]
    assert [frame.batch.payload for frame in found if frame.HasField("batch")] == produced.raw
    sent = [frame.batch for frame in found if frame.HasField("batch")]
    assert sent == produced.batches
    assert found[0].schema.fingerprint == produced.schema.fingerprint


def test_a_start_in_the_middle_leaves_out_what_lies_before_it(files, produced):
    found = read_all(SegmentCursor(files, frozenset(), 4 * PER_FRAME))
    assert [frame.batch.first_seq for frame in found if frame.HasField("batch")] == [91, 121, 151]
    assert sum(frame.HasField("schema") for frame in found) == 1, "the first segment is not even opened"
    behind = read_all(SegmentCursor(files, frozenset(), 10_000))
    assert [frame.WhichOneof("content") for frame in behind] == ["schema"]


@pytest.mark.parametrize(("types", "frames"), [
    ({"scalar.logged"}, 6), ({"esper_telemetry.v1.ScalarLogged"}, 6), ({"seed.culled"}, 0),
])  # fmt: skip
def test_frames_without_a_wanted_type_are_left_out(files, types, frames):
    found = read_all(SegmentCursor(files, frozenset(types), 0))
    assert sum(frame.HasField("batch") for frame in found) == frames


def test_nothing_behind_what_is_durable_is_read(files, produced):
    whole = files.published
    with RecordReader(whole[1].path) as reader:
        ends = [ref.end for ref in reader.frames()]
    files.published = (whole[0],)
    cursor = SegmentCursor(files, frozenset(), 0)
    seen = [len(cursor.read())]
    for end in ends:
        assert cursor.read() == []
        files.published = (whole[0], whole[1]._replace(size=end, last_seq=0))
        seen.append(sum(frame.HasField("batch") for frame in cursor.read()))
    assert seen == [4, 1, 1, 1]
    cursor.close()


def test_a_frame_longer_than_one_turn_is_read_whole(files, produced, monkeypatch):
    from esper_telemetry.collector import subscription

    monkeypatch.setattr(subscription, "_TURN_BYTES", 64)
    found = read_all(SegmentCursor(files, frozenset(), 0))
    assert [frame.batch.payload for frame in found if frame.HasField("batch")] == produced.raw


def test_a_damaged_file_is_an_error_and_not_an_end(files):
    first = files.published[0].path
    data = bytearray(first.read_bytes())
    data[20_000 if len(data) > 20_000 else len(data) // 2] ^= 0xFF
    with RecordReader(first) as reader:
        at = next(reader.frames()).offset
    data[at : at + 4] = b"XXXX"
    first.write_bytes(data)
    with pytest.raises(CorruptRecordError):
        read_all(SegmentCursor(files, frozenset(), 0))
