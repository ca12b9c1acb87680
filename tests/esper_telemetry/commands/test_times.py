"""Times in and out of the command line."""

from __future__ import annotations

import time

import click
import pytest

from esper_telemetry.commands.times import Moment, TimeFormat

T = 1_795_386_808_000_000_001


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("2026-11-22T22:33:28Z", 1_795_386_808_000_000_000),
        ("2026-11-22T23:33:28.5+01:00", 1_795_386_808_500_000_000),
        ("2026-11-22 22:33:28.000001", 1_795_386_808_000_001_000),
        ("2026-11-22", 1_795_305_600_000_000_000),
        (str(T), T),
    ],
)
def test_a_moment_is_iso_8601_in_utc_or_nanoseconds(text, nanos):
    assert Moment().convert(text, None, None) == nanos


@pytest.mark.parametrize("text", ["tomorrow", "2026-13-01", "-5", "", "5x", "25:00"])
def test_anything_else_is_refused_with_examples(text):
    with pytest.raises(click.BadParameter, match="2026-11-22T22:33:28"):
        Moment().convert(text, None, None)


def test_each_format_in_json_and_for_people(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    shown = {name: (TimeFormat(name).json(T), TimeFormat(name).text(T)) for name in ("utc", "local", "unix")}
    monkeypatch.undo()
    time.tzset()
    assert shown == {
        "utc": ("2026-11-22T22:33:28.000000001Z", "2026-11-22 22:33:28.000000"),
        "local": ("2026-11-23T04:03:28.000000001+05:30", "2026-11-23 04:03:28.000000"),
        "unix": (T, "1795386808.000000001"),
    }


def test_relative_times_count_from_the_first():
    times = TimeFormat("relative")
    assert [times.json(T), times.json(T + 1_500_000_000)] == [0.0, 1.5]
    assert times.text(T - 250_000_000).strip() == "-0.250000 s"
