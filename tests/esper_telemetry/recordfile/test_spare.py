"""Headers that are lost for good: whose is assumed, when nobody's is, and that it is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import zstandard

import esper_telemetry
from esper_telemetry import RecordOptions, decode
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import RecordReader, StreamFollower, merge, recover, verify
from esper_telemetry.recordfile.header import parse_header_frame
from esper_telemetry.recordfile.spare import ASSUMED, find_spare
from esper_telemetry.v1 import training_pb2


@pytest.fixture
def segments(tmp_path):
    """The segments of a real run, three or more."""
    options = RecordOptions(segment_bytes=8_000, frame_bytes=2_000, compact=False)
    with esper_telemetry.start_run(tmp_path, name="s", run_id="s", record=options) as run:
        for number in range(3_000):
            run.emit(training_pb2.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number**0.5, step=number)
            if number % 100 == 0:
                run.flush()
    found = sorted(run.folder.iterdir())
    assert len(found) >= 3
    return found


def lose_header(path, *, which: int = 0, parity: bool = False) -> None:
    """Overwrite a header of a record, the first or a further one; its parity too where that is asked for."""
    with RecordReader(path) as reader:
        headers = reader.segments[0].headers
        offset, desc = headers[which]
        end = offset + desc.compressed_size
        if parity:
            after = [at for at, _ in headers] + [frame.offset for frame in reader.frames()]
            end = min(at for at in after if at > offset)
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
    shutil.copy(segments[1], path)  # its first header declares types
    lose_header(path)
    other = records.write(types=[(number + 1, kind) for number, kind in records.types])
    result = recover(path, tmp_path / "out.esr.zst", schema_from=other)
    assert "not proven to be what it was written with" in result.assumed[str(path)][0]


# --- a further header -------------------------------------------------------------------------------------------------


def alone(path, tmp_path):
    """Return a copy of a segment in a folder of its own."""
    folder = tmp_path / "alone"
    folder.mkdir()
    return shutil.copy(path, folder / path.name)


def test_segments_declare_what_they_use_where_they_first_do(segments):
    with RecordReader(segments[0]) as first, RecordReader(segments[1]) as second:
        assert len(first.segments[0].headers) > 1
        assert [kind.rpartition(".")[2] for kind in second.types.values()] == ["ScalarLogged"]
        assert len(second.segments[0].headers) == 1


@pytest.mark.parametrize("parity", [False, True], ids=["proven", "of_a_sibling"])
def test_a_further_header_that_is_lost_costs_nothing(segments, tmp_path, parity):
    path = segments[0] if parity else alone(segments[0], tmp_path)
    whole = [(event.type, event.seq, event.data) for event in decode.read(path)]
    with RecordReader(path) as reader:
        which = next(at for at in range(1, 9) if "ScalarLogged" in str(headers_of(reader)[at].types))
    lose_header(path, which=which, parity=parity)
    assert [(event.type, event.seq, event.data) for event in decode.read(path, strict=False)] == whole
    result = recover(path, tmp_path / "out.esr.zst")
    assert [(event.type, event.seq, event.data) for event in decode.read(result.output)] == whole
    assert ("of the same stream" if parity else "installed SDK") in result.assumed[str(path)][0]
    assert verify(result.output).good


def headers_of(reader):
    """Return the headers of a file of one segment."""
    data = Path(reader.path).read_bytes()
    found = [data[at : at + desc.compressed_size] for at, desc in reader.segments[0].headers]
    return [parse_header_frame(zstandard.decompress(frame)) for frame in found]


def test_all_headers_that_are_lost_are_proven_together(segments, tmp_path):
    path = alone(segments[0], tmp_path)
    with RecordReader(path) as reader:
        whole, count = list(reader.events()), len(reader.segments[0].headers)
    for which in reversed(range(count)):  # the first one last: without it a file can be opened by nobody
        lose_header(path, which=which)
    result = recover(path, tmp_path / "out.esr.zst")
    with RecordReader(result.output) as reader:
        assert list(reader.events()) == whole
    assert next(event.type for event in decode.read(result.output)) == "run.started"


def test_the_one_header_of_a_compact_file_is_proven_by_all_its_frames(tmp_path):
    with esper_telemetry.start_run(tmp_path, name="s", run_id="s") as run:
        for number in range(300):
            run.emit(training_pb2.ScalarLogged, name="n", value=number**0.5, step=number)
            run.flush() if number % 10 == 0 else None
    (path,) = run.folder.glob("*.esr.zst")
    whole = [(event.type, event.seq, event.data) for event in decode.read(path)]
    with RecordReader(path) as reader:
        assert len(reader.segments[0].headers) == 1
    lose_header(path)
    assert [(event.type, event.seq, event.data) for event in decode.read(path, strict=False)] == whole


def test_of_a_further_header_that_is_lost_for_good_the_events_are_kept_without_their_names(segments, tmp_path):
    path = alone(segments[0], tmp_path)
    with RecordReader(path) as reader:
        whole, types = [event.seq for event in reader.events()], reader.types
        last = len(reader.segments[0].headers) - 1
        gone = {entry.type_id for entry in headers_of(reader)[last].types}
    lose_header(path, which=last, parity=True)
    events = list(decode.read(path, strict=False))
    assert [event.seq for event in events] == whole
    assert {event.type for event in events if event.type.startswith("type:")} == {f"type:{one}" for one in gone}
    assert types.keys() >= gone
    result = recover(path, tmp_path / "out.esr.zst")
    assert not result.complete
    with RecordReader(result.output) as reader:
        assert [event.seq for event in reader.events()] == whole


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
