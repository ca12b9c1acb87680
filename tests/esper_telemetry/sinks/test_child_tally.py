"""Counts of children, through real files and real processes."""

import os

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.sinks.child import TALLY_NAME, ChildTally, remove_tally, tallied


def test_the_counts_of_all_children_are_added_up(tmp_path):
    first, second = ChildTally(tmp_path), ChildTally(tmp_path)
    first.add(3)
    second.add(10)
    first.add(4)
    assert tallied(tmp_path) == 17
    assert (first.first, second.first) == (True, False)


def test_a_run_without_counting_children_has_counted_nothing(tmp_path):
    assert tallied(tmp_path) == 0
    remove_tally(tmp_path)


def test_many_processes_count_at_once_and_nothing_is_lost(tmp_path):
    children = []
    for _ in range(8):
        child = os.fork()
        if not child:
            tally = ChildTally(tmp_path)
            for _ in range(200):
                tally.add(1)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    assert tallied(tmp_path) == 8 * 200


def test_a_slot_that_was_cut_off_is_left_out(tmp_path):
    ChildTally(tmp_path).add(5)
    with (tmp_path / TALLY_NAME).open("ab") as file:
        file.write(b"half")
    assert tallied(tmp_path) == 5


def test_a_reported_count_is_removed_and_a_closed_one_stays(tmp_path):
    tally = ChildTally(tmp_path)
    tally.add(5)
    tally.close()
    assert tallied(tmp_path) == 5
    remove_tally(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SinkError, match="cannot count"):
        ChildTally(tmp_path / "file")
    tally = ChildTally(tmp_path)
    tally.close()
    tally._file = open(os.devnull, "rb", buffering=0)  # noqa: SIM115, PTH123 - a file that refuses to be written
    with pytest.raises(SinkError, match="cannot count"):
        tally.add(1)
    assert tally._events == 0
    tally.close()
