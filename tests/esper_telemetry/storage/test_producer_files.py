"""Files that somebody removed, moved, replaced or cut by hand: noticed, told, asked for again."""

import os
import shutil

import pytest

from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.verification import verify
from esper_telemetry.storage.engine import CutBack, Inspect, PutFrame, Seal
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import recover, recover_producer
from tests.esper_telemetry.collector.publisher import Produced, stored

PER_FRAME = 20
FRAMES = 6


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=FRAMES, per_frame=PER_FRAME)


class Desk:
    """A producer's files, driven as the writer thread drives them: apply, sync, fail."""

    def __init__(self, root, produced, *, restored=False) -> None:
        self.root, self.produced = root, produced
        key = ProducerKey(produced.run_id, produced.producer_id)
        found = recover_producer(root / produced.run_id, key, []) if restored else None
        self.files = ProducerFiles(root, key, found)
        self.do(self.files.claim())
        self.do(SchemaCheck(CollectorLimits()).check(produced.schema, key))

    def do(self, *items) -> None:
        try:
            for item in items:
                self.files.apply(item)
            self.files.sync()
        except SinkError as error:
            self.files.fail(error)

    def frames(self, *numbers) -> None:
        self.do(*(PutFrame(self.produced.raw[n], self.produced.refs[n].descriptor) for n in numbers))

    def segments(self, *groups, leave_open: bool) -> list:
        """Store groups of frames, each in a segment of its own; return their files."""
        for at, group in enumerate(groups):
            self.frames(*group)
            if at < len(groups) - 1 or not leave_open:
                self.do(Seal())
        return [segment.path for segment in self.files.published]

    def send_again(self) -> None:
        """Do what a client does that was told how far the collector is."""
        assert self.files.failed is not None
        self.do(self.files.claim())
        assert self.files.failed is None
        self.do(SchemaCheck(CollectorLimits()).check(self.produced.schema, self.files.key))
        self.frames(*range(self.files.numbers.durable_seq // PER_FRAME, FRAMES))
        self.do(Seal())


@pytest.fixture
def desk(tmp_path, produced):
    return Desk(tmp_path, produced)


def lost_numbers(files) -> set[int]:
    return {number for first, last in files.lost for number in range(first, last + 1)}


def numbers_on_disk(root) -> set[int]:
    found = set()
    for path in root.glob("*/*.esr.zst"):
        with RecordReader(path) as reader:
            found |= {number for ref in reader.frames() for number in range(ref.first_seq, ref.last_seq + 1)}
    return found


def replace_by_a_copy(path):
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


def empty(path):
    os.truncate(path, 0)


def cut_into_the_header(path):
    os.truncate(path, 40)


def cut_in_half(path):
    os.truncate(path, path.stat().st_size // 2)


def cut_one_byte(path):
    os.truncate(path, path.stat().st_size - 1)


def move(path):
    path.rename(path.parent.parent / "elsewhere")


DAMAGE = [os.unlink, move, replace_by_a_copy, empty, cut_into_the_header, cut_in_half, cut_one_byte]


@pytest.mark.parametrize("leave_open", [True, False], ids=["open", "sealed"])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda each: each.__name__)
def test_what_happens_to_the_last_file_is_noticed_and_its_events_are_asked_for_again(
    desk, produced, damage, leave_open
):
    *_, last = desk.segments([0, 1], [2, 3], leave_open=leave_open)
    damage(last)
    desk.do(Inspect())
    files = desk.files
    assert files.failed is not None
    told = lost_numbers(files)
    assert files.numbers.durable_seq >= 2 * PER_FRAME
    assert told | set(range(1, files.numbers.durable_seq + 1)) == set(range(1, 4 * PER_FRAME + 1)), (
        "all that is gone is told"
    )
    desk.send_again()
    assert files.numbers.durable_seq == FRAMES * PER_FRAME
    kept = numbers_on_disk(desk.root)
    assert kept == set(range(1, FRAMES * PER_FRAME + 1))
    assert stored(desk.root, produced) == produced.raw
    assert all(verify(segment.path).good for segment in files.published)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda each: each.__name__)
def test_what_happens_to_a_file_in_the_middle_is_told_once_and_nothing_is_stored_twice(desk, produced, damage):
    _, middle, _ = desk.segments([0, 1], [2, 3], [4], leave_open=True)
    damage(middle)
    desk.do(Inspect())
    told = lost_numbers(desk.files)
    assert told <= set(range(2 * PER_FRAME + 1, 4 * PER_FRAME + 1))
    desk.files.lost.clear()
    assert desk.files.numbers.durable_seq == 5 * PER_FRAME, "what is behind the gap is there: clients go on behind it"
    desk.send_again()
    assert desk.files.lost == [], "told once"
    kept = numbers_on_disk(desk.root)
    # A copy by hand holds the same events; the collector does not answer for it.
    assert kept | told == set(range(1, FRAMES * PER_FRAME + 1))


def test_every_file_gone_begins_anew(desk, produced):
    desk.segments([0], [1], [2], leave_open=True)
    shutil.rmtree(desk.root / produced.run_id)
    desk.do(Inspect())
    assert lost_numbers(desk.files) == set(range(1, 3 * PER_FRAME + 1))
    assert desk.files.numbers.durable_seq == 0
    desk.send_again()
    assert stored(desk.root, produced) == produced.raw
    assert recover(desk.root).producers[desk.files.key].durable_seq == FRAMES * PER_FRAME


def test_a_folder_that_is_moved_under_a_sync_is_not_acked_into(desk, produced):
    desk.segments([0], leave_open=True)
    (desk.root / produced.run_id).rename(desk.root / "moved")
    desk.frames(1)
    assert desk.files.failed is not None
    assert desk.files.numbers.durable_seq == 0
    desk.send_again()
    shutil.rmtree(desk.root / "moved")
    assert stored(desk.root, produced) == produced.raw


@pytest.mark.parametrize("then", ["frame", "seal"])
@pytest.mark.parametrize(
    "damage", [empty, cut_into_the_header, cut_in_half, cut_one_byte], ids=lambda each: each.__name__
)
def test_a_file_that_is_cut_before_more_is_appended_loses_nothing_unseen(desk, produced, damage, then):
    (path,) = desk.segments([0, 1, 2], leave_open=True)
    damage(path)
    if then == "frame":  # it fills what was cut off: by its size the file looks as if all were there
        desk.frames(3)
    else:
        desk.do(Seal())
    files = desk.files
    assert files.failed is not None
    there = set(range(1, files.numbers.durable_seq + 1))
    assert there | lost_numbers(files) == set(range(1, 3 * PER_FRAME + 1)), "all that is gone is told"
    assert there <= numbers_on_disk(desk.root), "what is called durable can be read"
    desk.send_again()
    assert numbers_on_disk(desk.root) == set(range(1, FRAMES * PER_FRAME + 1))
    assert stored(desk.root, produced) == produced.raw


def test_a_cut_that_took_only_what_was_not_synced_costs_nothing_that_was(desk, produced):
    (path,) = desk.segments([0, 1], leave_open=True)
    durable = path.stat().st_size
    desk.files.apply(PutFrame(produced.raw[2], produced.refs[2].descriptor))
    desk.files.write()
    os.truncate(path, durable + 5)
    desk.frames(3)
    assert desk.files.failed is not None
    assert desk.files.lost == []
    assert desk.files.numbers.durable_seq == 2 * PER_FRAME
    desk.send_again()
    assert stored(desk.root, produced) == produced.raw


def test_the_first_files_gone_do_not_move_the_watermark(desk):
    first, *_ = desk.segments([0], [1], leave_open=False)
    first.unlink()
    desk.do(desk.files.claim())
    assert desk.files.failed is None
    assert lost_numbers(desk.files) == set(range(1, PER_FRAME + 1))
    assert desk.files.numbers.durable_seq == 2 * PER_FRAME


def test_files_that_go_while_no_stream_is_open_are_noticed_by_the_next(desk, produced):
    *_, last = desk.segments([0, 1], [2, 3], leave_open=False)
    last.unlink()
    desk.do(desk.files.claim())
    assert desk.files.failed is None
    assert desk.files.numbers.durable_seq == 2 * PER_FRAME
    assert lost_numbers(desk.files) == set(range(2 * PER_FRAME + 1, 4 * PER_FRAME + 1))


def test_files_of_a_consumer_do_not_go_back(tmp_path, produced):
    desk = Desk(tmp_path, produced)
    desk.files._rewinds = False
    *_, last = desk.segments([0], [1], leave_open=False)
    last.unlink()
    desk.do(desk.files.claim())
    assert desk.files.numbers.durable_seq == 2 * PER_FRAME, "the log has let go of them"
    assert lost_numbers(desk.files)


def test_a_folder_that_nobody_may_look_into_tells_nothing_lost(desk, monkeypatch):
    desk.segments([0], leave_open=False)

    def refuse(*_):
        raise SinkError("cannot be looked up")

    monkeypatch.setattr("esper_telemetry.storage.published.absence", refuse)
    desk.do(Inspect())
    assert desk.files.failed
    assert desk.files.lost == []
    assert desk.files.numbers.durable_seq == PER_FRAME
    monkeypatch.undo()
    desk.send_again()
    assert desk.files.numbers.durable_seq == FRAMES * PER_FRAME


def test_a_restored_producer_goes_on_behind_its_last_file(desk, tmp_path, produced):
    desk.segments([0, 1], [2], leave_open=False)
    again = Desk(tmp_path, produced, restored=True)
    assert again.files.numbers.durable_seq == 3 * PER_FRAME
    assert again.files.stored_bytes == desk.files.stored_bytes
    again.frames(3, 4, 5)
    again.do(Seal())
    assert stored(tmp_path, produced) == produced.raw


def test_stored_bytes_are_what_the_files_take(desk):
    def there() -> int:
        return sum(path.stat().st_size for path in desk.root.glob("*/*.esr.zst"))

    first, *_ = desk.segments([0, 1], [2], leave_open=True)
    assert desk.files.stored_bytes == there()
    desk.do(Seal())
    assert desk.files.stored_bytes == there()
    desk.do(CutBack(2 * PER_FRAME + 1))
    assert desk.files.stored_bytes == there()
    first.unlink()
    desk.do(desk.files.claim())
    assert desk.files.stored_bytes == there()


def test_a_name_that_others_have_taken_is_passed_over(desk):
    desk.segments([0], leave_open=False)
    (taken,) = (segment.path for segment in desk.files.published)
    for number in range(2, 5):
        (taken.parent / taken.name.replace("000001", f"{number:06d}")).write_text("somebody else's")
    desk.frames(1)
    assert desk.files.numbers.durable_seq == 2 * PER_FRAME
    (other,) = {segment.path for segment in desk.files.published} - {taken}
    assert other.read_bytes() != b"somebody else's"
