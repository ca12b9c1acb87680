"""Headers that are lost for good: whose is assumed, when nobody's is, and that it is said."""

from __future__ import annotations

import shutil

import pytest

import esper_telemetry
from esper_telemetry import RecordOptions
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import RecordReader, StreamFollower, merge, recover, verify
from esper_telemetry.recordfile.spare import ASSUMED, find_spare
from esper_telemetry.v1 import training_pb2


@pytest.fixture
def segments(tmp_path):
    """The segments of a real run, three or more."""
    options = RecordOptions(segment_bytes=30_000, frame_bytes=2_000)
    with esper_telemetry.start_run(tmp_path, name="s", run_id="s", record=options) as run:
        for number in range(3_000):
            run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5, step=number)
            if number % 100 == 0:
                run.flush()
    found = sorted(run.folder.iterdir())
    assert len(found) >= 3
    return found


def lose_header(path, *, parity: bool = False) -> None:
    """Overwrite the header of a record; its parity too where that is asked for."""
    with RecordReader(path) as reader:
        offset, desc = reader.segments[0].headers[0]
        end = next(reader.frames()).offset if parity else offset + desc.compressed_size
    data = bytearray(path.read_bytes())
    data[offset:end] = bytes(end - offset)
    path.write_bytes(data)


@pytest.mark.parametrize("which", [0, 1, -1], ids=["first", "middle", "last"])
def test_the_header_of_a_segment_of_the_same_stream_is_assumed(segments, tmp_path, which):
    path = segments[which]
    with RecordReader(path) as reader:
        whole, header = list(reader.events()), reader.header
    lose_header(path, parity=True)
    result = recover(path, tmp_path / "out.esr.zst")
    with RecordReader(result.output) as reader:
        assert list(reader.events()) == whole
        assert reader.header.producer_id == header.producer_id
        assert reader.header.segment == header.segment
        assert reader.header.previous_last_seq == header.previous_last_seq
        assert "of the same stream" in reader.header.attributes[ASSUMED]
    assert not result.complete
    assert "of the same stream" in result.assumed[str(path)][0]
    assert verify(result.output).good


def test_the_schema_of_this_sdk_is_assumed_if_the_file_proves_that_it_is_its_own(segments, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    path = alone / segments[0].name
    shutil.copy(segments[0], path)
    with RecordReader(path) as reader:
        whole = list(reader.events())
    lose_header(path)
    result = recover(path, tmp_path / "out.esr.zst")
    with RecordReader(result.output) as reader:
        assert list(reader.events()) == whole
        assert reader.header.run_id == "alone", "the folder is all that tells it"
        assert reader.header.producer_id[:4].hex() in path.name
    assert "installed SDK" in result.assumed[str(path)][0]


def test_without_proof_nothing_is_assumed_and_the_next_step_is_said(segments, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    path = alone / segments[0].name
    shutil.copy(segments[0], path)
    lose_header(path, parity=True)
    assert find_spare(path) is None
    with pytest.raises(CorruptRecordError, match="--schema-from"):
        recover(path, tmp_path / "out.esr.zst")
    assert not (tmp_path / "out.esr.zst").exists()


def test_a_schema_that_somebody_vouches_for_is_taken(segments, tmp_path):
    path = tmp_path / "renamed.esr.zst"
    shutil.copy(segments[0], path)
    with RecordReader(path) as reader:
        whole = list(reader.events())
    lose_header(path, parity=True)
    result = recover(path, tmp_path / "out.esr.zst", schema_from=segments[1])
    with RecordReader(result.output) as reader:
        assert list(reader.events()) == whole
    assert segments[1].name in result.assumed[str(path)][0]


def test_a_schema_that_is_not_the_files_own_is_said_to_be_another(segments, records, tmp_path):
    path = tmp_path / "renamed.esr.zst"
    shutil.copy(segments[0], path)
    lose_header(path)
    other = records.write(types=records.types[:1])
    result = recover(path, tmp_path / "out.esr.zst", schema_from=other)
    assert "not the schema it was written with" in result.assumed[str(path)][0]


def test_recovering_twice_gives_the_same_bytes(segments, tmp_path):
    lose_header(segments[1], parity=True)
    for name in ("a", "b"):
        recover(segments[1], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_merge_takes_a_segment_without_header_along(segments, tmp_path):
    whole = [event.seq for path in segments for event in RecordReader(path).events()]
    lose_header(segments[1], parity=True)
    result = merge(segments, tmp_path / "out.esr.zst")
    with RecordReader(result.output) as reader:
        assert [event.seq for event in reader.events()] == whole
    assert result.assumed.keys() == {str(segments[1])}


def test_a_follower_takes_a_header_that_is_lent(segments):
    whole = [event.seq for event in RecordReader(segments[1]).events()]
    lose_header(segments[1], parity=True)
    spare = find_spare(segments[1])
    follower = StreamFollower(segments[1], spare=spare.header)
    looks = [follower.poll() for _ in range(40)]  # what looks damaged may be a write that is under way
    found = [event.seq for look in looks for one in look for event in one.events]
    assert found[: len(whole)] == whole
    follower.close()
