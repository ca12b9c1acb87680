"""A wall clock is believed after it went as the steady one, not on its word."""

import os

import pytest

from esper_telemetry.collector.expiry import WallClock

DAY, NOW = 86_400.0, 1_800_000_000.0


@pytest.fixture
def folder(tmp_path):
    (tmp_path / ".collector.clock").touch()
    os.utime(tmp_path / ".collector.clock", (NOW - 60, NOW - 60))
    return tmp_path


def test_a_folder_that_was_used_a_moment_ago_vouches_for_the_clock(folder):
    assert WallClock(folder).look(NOW, 5.0)


def test_an_empty_folder_has_nothing_that_could_be_deleted(tmp_path):
    assert WallClock(tmp_path).look(NOW, 5.0)


@pytest.mark.parametrize("wrong", [400 * DAY, 2 * 3600.0, -400 * DAY, -3600.0])
def test_a_start_long_after_or_before_the_last_use_puts_the_clock_on_probation(folder, wrong):
    clock = WallClock(folder)
    assert not clock.look(NOW + wrong, 0.0)
    assert "last used" in clock.doubt
    assert not clock.look(NOW + wrong + DAY - 1, DAY - 1)
    assert clock.look(NOW + wrong + DAY, DAY)
    assert clock.doubt == ""


def test_without_a_mark_the_newest_file_tells(tmp_path):
    (tmp_path / "run").mkdir()
    for name, at in (("old", NOW - 90 * DAY), ("new", NOW - 10)):
        (tmp_path / "run" / name).touch()
        os.utime(tmp_path / "run" / name, (at, at))
    assert WallClock(tmp_path).look(NOW, 0.0)
    (tmp_path / ".collector.clock").unlink()
    os.utime(tmp_path / "run" / "new", (NOW - 90 * DAY,) * 2)
    assert not WallClock(tmp_path).look(NOW, 0.0)


@pytest.mark.parametrize("leap", [61.0, -61.0, 400 * DAY])
def test_a_leap_puts_it_on_probation_and_the_next_one_again(folder, leap):
    clock = WallClock(folder)
    assert clock.look(NOW, 0.0)
    assert not clock.look(NOW + 1 + leap, 1.0)
    assert f"leapt by {leap:,.0f} s" in clock.doubt
    assert not clock.look(NOW + DAY - 5, DAY - 5), "back again is a leap as well"
    assert not clock.look(NOW + DAY + 60, DAY + 60)
    assert clock.look(NOW + 2 * DAY, 2 * DAY)


def test_a_drift_and_a_time_server_that_corrects_by_seconds_are_no_leaps(folder):
    clock = WallClock(folder)
    wall = NOW
    for second in range(1, 600):
        wall += 1.02 if second % 60 else -5.0
        assert clock.look(wall, float(second))


def test_a_long_sleep_of_the_process_is_no_leap(folder):
    clock = WallClock(folder)
    clock.look(NOW, 0.0)
    assert clock.look(NOW + 30 * DAY, 30 * DAY)


def test_the_mark_tells_when_the_clock_was_believed_last(folder):
    clock = WallClock(folder)
    clock.look(NOW, 0.0)
    clock.look(NOW + 59, 59.0)
    assert (folder / ".collector.clock").stat().st_mtime == NOW
    clock.look(NOW + 60, 60.0)
    assert (folder / ".collector.clock").stat().st_mtime == NOW + 60
    clock.look(NOW + 400 * DAY, 120.0)
    assert (folder / ".collector.clock").stat().st_mtime == NOW + 60


def test_restarts_in_a_row_do_not_shorten_a_probation(folder):
    clock = WallClock(folder)
    assert not clock.look(NOW + 400 * DAY, 0.0)
    assert not WallClock(folder).look(NOW + 400 * DAY + 10, 5.0), "a doubted clock vouches for nothing"
    assert WallClock(folder).look(NOW + 100, 10.0), "nor does it harm the true one"


def test_files_that_a_doubted_clock_wrote_do_not_vouch_for_it(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").touch()
    os.utime(tmp_path / "run" / "old", (NOW, NOW))
    assert not WallClock(tmp_path).look(NOW + 400 * DAY, 0.0)
    (tmp_path / "run" / "new").touch()
    os.utime(tmp_path / "run" / "new", (NOW + 400 * DAY,) * 2)
    assert not WallClock(tmp_path).look(NOW + 400 * DAY + 10, 5.0)


def test_a_folder_that_cannot_be_marked_changes_nothing(folder):
    clock = WallClock(folder / "gone")
    assert clock.look(NOW, 0.0)
    assert clock.look(NOW + 60, 60.0)
