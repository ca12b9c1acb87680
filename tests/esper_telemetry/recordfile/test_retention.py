from __future__ import annotations

from esper_telemetry.recordfile import SegmentName, list_run, prune
from esper_telemetry.recordfile.run_folder import is_closed


def run_folder(records, *segments) -> list:
    """Make a run folder of (rank, segment, closed) records."""
    folder = records.folder / "run"
    folder.mkdir()
    for rank, segment, closed in segments:
        name = SegmentName("main", rank, "20260101T000000Z", "00000001", segment)
        records.write(close=closed).rename(folder / name.format())
    return folder


def left(folder) -> list[tuple[int, int]]:
    names = [SegmentName.parse(path) for path in list_run(folder)]
    return [(name.rank, name.segment) for name in names]


def test_the_oldest_closed_segments_go_first(records):
    folder = run_folder(records, (0, 1, True), (0, 2, True), (0, 3, True), (0, 4, True))
    size = list_run(folder)[0].stat().st_size
    gone = prune(folder, 2 * size)
    assert [SegmentName.parse(path).segment for path in gone] == [1, 2]
    assert left(folder) == [(0, 3), (0, 4)]


def test_the_last_of_a_stream_and_open_segments_stay_whatever_the_limit(records):
    folder = run_folder(records, (0, 1, False), (0, 2, True), (0, 3, True), (1, 1, True))
    prune(folder, 0)
    assert left(folder) == [(0, 1), (0, 3), (1, 1)]


def test_only_the_stream_that_is_named_is_pruned(records):
    folder = run_folder(records, (0, 1, True), (0, 2, True), (1, 1, True), (1, 2, True))
    prune(folder, 0, stream=SegmentName("main", 1, "20260101T000000Z", "00000001", 9))
    assert left(folder) == [(0, 1), (0, 2), (1, 2)]


def test_nothing_is_deleted_below_the_limit(records):
    folder = run_folder(records, (0, 1, True), (0, 2, True))
    assert prune(folder, 1 << 30) == []


def test_closed_means_a_footer_that_may_be_trusted(records):
    path = records.write()
    assert is_closed(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_closed(path)
