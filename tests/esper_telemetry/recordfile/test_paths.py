from __future__ import annotations

from pathlib import Path

import pytest

from esper_telemetry.errors import ConfigError
from esper_telemetry.recordfile.paths import SegmentName, path_component


def test_a_segment_is_named_by_stream_rank_start_boot_and_number():
    name = SegmentName.of("main", 3, 1_795_386_808_123_456_789, bytes.fromhex("0a1b2c3dffff"), 12)
    assert name.format() == "main-r3-20261122T223328Z-0a1b2c3d-000012.esr.zst"
    assert SegmentName.parse(Path("/any/where") / name.format()) == name


@pytest.mark.parametrize(
    "other", ["main.esr.zst", "main-r3-2026-0a1b2c3d-000012.esr.zst", "notes.txt", "x.esr.zst.tmp"]
)
def test_other_files_are_not_taken_for_segments(other):
    assert SegmentName.parse(Path(other)) is None


@pytest.mark.parametrize("stream", ["a-r1-b", "with-dash", "x" * 128])
def test_a_stream_with_dashes_survives_the_round_trip(stream):
    name = SegmentName.of(stream, 0, 0, b"\x01\x02\x03\x04", 1)
    assert SegmentName.parse(Path(name.format())) == name


@pytest.mark.parametrize("bad", ["", "..", "a/b", ".hidden", "a b", "-x", "nul\0", "x" * 129, "ü"])
def test_a_name_that_could_leave_its_folder_is_refused(bad):
    with pytest.raises(ConfigError, match="stream"):
        path_component("stream", bad)
