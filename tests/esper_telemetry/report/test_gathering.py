"""Gathering: what is missing of a record, and what was passed over, is told of a report as of any reading."""

from __future__ import annotations

import random

import pytest

import esper_telemetry
from esper_telemetry import events
from esper_telemetry.report.gathering import gather


@pytest.fixture
def segments(tmp_path):
    """A run in several segments."""
    noise = random.Random(5)
    options = esper_telemetry.RecordOptions(segment_bytes=65_536, frame_bytes=4_096)
    with esper_telemetry.start_run(tmp_path / "runs", name="long", record=options) as run:
        for step in range(16_000):
            run.emit(events.ScalarLogged, name="n", value=noise.random(), step=step)
    found = sorted(run.folder.glob("*.esr.zst"))
    assert len(found) > 2
    return found


def told(path) -> list[str]:
    return [warning for run in gather(path) for warning in run.warnings]


def test_a_whole_run_has_no_warning(segments):
    assert told(segments[0].parent) == []


def test_the_first_segment_of_a_folder_is_missed(segments):
    segments[0].unlink()
    assert any("are missing: segment 2 is the first one here" in warning for warning in told(segments[0].parent))


def test_what_was_passed_over_is_told_once(segments, tmp_path):
    bad = tmp_path / "bad.esr.zst"
    bad.write_text("no record")
    with esper_telemetry.start_run(tmp_path / "runs", name="other") as other:
        other.emit(events.ScalarLogged, name="n", value=1.0)
    (warning,) = told([segments[0].parent, other.folder, bad])
    assert f"{bad}: passed over: not a record file" in warning
