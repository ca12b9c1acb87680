import random
import shutil

import pytest

from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter, Skip, SkipReason
from esper_telemetry.recordfile.verification import verify
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.recovery import recover
from esper_telemetry.storage.segment_writer import SegmentWriter, own_header
from tests.esper_telemetry.collector.publisher import TYPES, Produced, make_batch

PER_FRAME = 30


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=6, per_frame=PER_FRAME)


def key(produced) -> ProducerKey:
    return ProducerKey(produced.run_id, produced.producer_id)


def write(root, produced, frames, *, segment=1, last_seq=0, seal=False, name=None):
    """Write a segment of the collector; without a seal it looks as after a SIGKILL."""
    folder = root / produced.run_id
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"main-r0-20251009T085320Z-00000000-{segment:06d}.esr.zst")
    appender = SegmentWriter(path, own_header(produced.schema.header, segment, b"", last_seq), [].append)
    for number in frames:
        appender.append([(produced.raw[number], produced.refs[number].descriptor)])
    if seal:
        appender.seal()
    else:
        appender._file.close()
    return path


def frames_of(path) -> list[bytes]:
    with RecordReader(path) as reader:
        return [reader.read_raw(ref) for ref in reader.frames()]


def test_every_cut_of_a_segment_gives_back_exactly_its_whole_frames(tmp_path, produced):
    whole = write(tmp_path / "made", produced, range(3))
    data = whole.read_bytes()
    with RecordReader(whole) as reader:
        ends = [ref.end for ref in reader.frames()]
    start = ends[0] - len(produced.raw[0])
    for size in sorted({*range(start, len(data), 11), *ends, len(data)}):
        root = tmp_path / "store"
        path = root / produced.run_id / whole.name
        path.parent.mkdir(parents=True)
        path.write_bytes(data[:size])
        found = recover(root).producers[key(produced)]
        kept = sum(end <= size for end in ends)
        assert found.durable_seq == kept * PER_FRAME
        assert frames_of(path) == produced.raw[:kept]
        assert verify(path).good
        assert verify(path).closed
        shutil.rmtree(root)


def test_a_file_without_a_whole_header_is_put_aside(tmp_path, produced):
    path = write(tmp_path, produced, [])
    path.write_bytes(path.read_bytes()[:200])
    recovery = recover(tmp_path)
    assert not recovery.producers
    assert not path.exists()
    assert path.with_name(path.name + ".torn").stat().st_size == 200
    assert "renamed" in recovery.notes[0]


def test_recovering_twice_changes_nothing(tmp_path, produced):
    path = write(tmp_path, produced, range(4))
    path.write_bytes(path.read_bytes()[:-9])
    assert recover(tmp_path).producers[key(produced)].durable_seq == 3 * PER_FRAME
    data = path.read_bytes()
    again = recover(tmp_path)
    assert again.producers[key(produced)].durable_seq == 3 * PER_FRAME
    assert not again.notes
    assert path.read_bytes() == data


def test_a_power_loss_that_kept_a_later_page_and_lost_an_earlier_one_cuts_at_the_lost_one(tmp_path, produced):
    path = write(tmp_path, produced, range(4))
    with RecordReader(path) as reader:
        second = list(reader.frames())[1]
    data = bytearray(path.read_bytes())
    middle = second.offset + second.compressed_size // 2
    data[middle : middle + 20] = bytes(20)
    path.write_bytes(data)
    recovery = recover(tmp_path)
    assert recovery.producers[key(produced)].durable_seq == PER_FRAME
    assert frames_of(path) == produced.raw[:1]
    aside = path.with_name(path.name + ".damaged")
    assert aside.read_bytes() == data, "frames behind the damage were acked perhaps: they are kept"
    assert any("damaged" in note for note in recovery.notes)


def test_zeros_at_the_end_are_cut(tmp_path, produced):
    path = write(tmp_path, produced, range(2))
    with path.open("ab") as file:
        file.write(bytes(5000))
    assert recover(tmp_path).producers[key(produced)].durable_seq == 2 * PER_FRAME
    assert verify(path).good


def test_a_torn_footer_is_replaced_by_a_whole_one(tmp_path, produced):
    path = write(tmp_path, produced, range(3), seal=True)
    data = path.read_bytes()
    for lost in (1, 9, 30, 60):
        path.write_bytes(data[:-lost])
        assert recover(tmp_path).producers[key(produced)].durable_seq == 3 * PER_FRAME
        assert path.read_bytes() == data


def test_the_watermark_is_that_of_the_last_segment(tmp_path, produced):
    write(tmp_path, produced, [0, 1], seal=True)
    write(tmp_path, produced, [2, 3], segment=2, last_seq=2 * PER_FRAME)
    found = recover(tmp_path).producers[key(produced)]
    assert found.durable_seq == 4 * PER_FRAME
    assert [segment.header.segment for segment in found.segments] == [1, 2]


def test_a_segment_never_reaches_into_the_one_after_it(tmp_path, produced):
    first = write(tmp_path, produced, [0, 1, 2])
    write(tmp_path, produced, [1, 2, 3], segment=2, last_seq=PER_FRAME)
    assert recover(tmp_path).producers[key(produced)].durable_seq == 4 * PER_FRAME
    assert frames_of(first) == produced.raw[:1]
    assert not list(tmp_path.glob("*/*.damaged")), "what was cut stands in the next segment"


def test_skips_count_as_numbers(tmp_path, produced):
    path = write(tmp_path, produced, [0])
    with path.open("ab") as file:
        from esper_telemetry.recordfile.layout import pack_skip

        file.write(pack_skip(Skip(PER_FRAME + 1, 500, SkipReason.TOO_BIG)) + produced.raw[1])
    assert recover(tmp_path).producers[key(produced)].durable_seq == 500, "the frame behind does not follow"
    with RecordReader(path) as reader:
        assert reader.closed
        assert reader.segments[0].skips[0].last_seq == 500


def test_files_of_others_are_left_alone(tmp_path, produced):
    folder = tmp_path / "run"
    folder.mkdir()
    theirs = folder / "main-r0-20251009T085320Z-00000000-000001.esr.zst"
    writer = RecordWriter(theirs, HeaderInfo(run_id="run", producer_id=b"p" * 16), TYPES)
    writer.write(make_batch(1, 5))
    writer.abandon()
    data = theirs.read_bytes()[:-3]
    theirs.write_bytes(data)
    recovery = recover(tmp_path)
    assert not recovery.producers
    assert theirs.read_bytes() == data


def test_a_segment_that_somebody_writes_is_left_alone(tmp_path, produced):
    folder = tmp_path / produced.run_id
    folder.mkdir()
    path = folder / "main-r0-20251009T085320Z-00000000-000001.esr.zst"
    appender = SegmentWriter(path, own_header(produced.schema.header, 1, b"", 0), [].append)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(100)
    recovery = recover(tmp_path)
    assert path.stat().st_size == 100 < size
    assert not recovery.producers
    appender._file.close()


def test_random_damage_never_leaves_a_hole_or_a_repetition(tmp_path, produced):
    data = write(tmp_path / "made", produced, range(6)).read_bytes()
    rng = random.Random(7)
    for _ in range(150):
        root = tmp_path / "store"
        path = root / produced.run_id / "main-r0-20251009T085320Z-00000000-000001.esr.zst"
        path.parent.mkdir(parents=True)
        broken = bytearray(data[: rng.randrange(len(data) // 2, len(data) + 1)])
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(broken))
            broken[at : at + rng.randrange(1, 200)] = bytes(rng.randrange(1, 200))
        path.write_bytes(broken)
        recovery = recover(root)
        if recovery.producers:
            kept = frames_of(path)
            assert kept == produced.raw[: len(kept)]
            assert recovery.producers[key(produced)].durable_seq == len(kept) * PER_FRAME
            assert verify(path).good
        shutil.rmtree(root)
