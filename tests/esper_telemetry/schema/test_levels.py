"""Levels by name, and lifecycle-only as their floor."""

from __future__ import annotations

import itertools

import pytest

from esper_telemetry.errors import ConfigError
from esper_telemetry.schema import LEVELS, effective_level, level_number
from esper_telemetry.v1 import options_pb2


def test_levels_rise_from_off_to_debug():
    assert list(LEVELS) == ["off", "lifecycle", "minimal", "normal", "debug"]
    assert all(low < high for low, high in itertools.pairwise(LEVELS.values()))


def test_levels_are_those_of_the_schema():
    assert {f"LEVEL_{name.upper()}": number for name, number in LEVELS.items()} == {
        name: number for name, number in options_pb2.Level.items() if number
    }


@pytest.mark.parametrize(
    ("name", "floored"),
    [
        ("off", "lifecycle"),
        ("lifecycle", "lifecycle"),
        ("minimal", "minimal"),
        ("normal", "normal"),
        ("debug", "debug"),
    ],
)
def test_lifecycle_only_is_a_floor_and_takes_nothing_away(name, floored):
    assert effective_level(name, lifecycle_only=True) == LEVELS[floored]
    assert effective_level(name, lifecycle_only=False) == LEVELS[name]


@pytest.mark.parametrize("wrong", ["verbose", "NORMAL", "", None, 4, []])
def test_an_unknown_level_is_refused_with_the_known_ones(wrong):
    with pytest.raises(ConfigError, match="use one of off, lifecycle, minimal, normal, debug"):
        level_number(wrong)
