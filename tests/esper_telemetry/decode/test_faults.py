"""What a reader did not get, in words."""

from __future__ import annotations

import pytest

from esper_telemetry.decode.faults import Faults
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import Damage, RecordReader

DAMAGE = Damage(100, 200, "it does not decompress", 5, 9)


def test_strict_faults_raise_damage_with_its_place():
    with pytest.raises(CorruptRecordError, match=r"^run.esr.zst at byte 100: .*numbers 5 to 9 are lost"):
        Faults(strict=True).damaged("run.esr.zst", DAMAGE)


def test_lenient_faults_keep_damage_and_say_it_once():
    faults = Faults(strict=False)
    faults.damaged("run.esr.zst", DAMAGE)
    assert [(found.path, found.damage) for found in faults.damage] == [("run.esr.zst", DAMAGE)]
    assert faults.warnings == [f"run.esr.zst: {DAMAGE}"]


def test_an_unreadable_frame_says_which_numbers_it_costs(write_record, scalars):
    with RecordReader(write_record(scalars(4))) as reader:
        (frame,) = reader.frames()
    faults = Faults(strict=False)
    faults.unreadable("f", frame, CorruptRecordError("bad checksum", path="f", offset=frame.offset))
    ((_, damage),) = faults.damage
    assert (damage.reason, damage.first_seq, damage.last_seq) == ("bad checksum", 1, 4)


def test_a_frame_met_again_is_a_copy_only_for_the_same_producer(write_record, scalars):
    with RecordReader(write_record(scalars(4))) as reader:
        (frame,) = reader.frames()
    faults = Faults(strict=True)
    assert not faults.is_copy("a", b"one", frame)
    assert not faults.is_copy("b", b"two", frame)
    assert faults.is_copy("c", b"one", frame)


def test_a_segment_that_follows_without_its_predecessors_end_is_told(write_record, scalars, tmp_path):
    faults = Faults(strict=True)
    for path, first in ((tmp_path / "1.esr.zst", 1), (tmp_path / "2.esr.zst", 9)):
        with RecordReader(write_record(scalars(5), path=path, first_seq=first)) as reader:
            faults.opened(reader)
    assert faults.missing == 3
    assert "numbers 6 to 8 are missing" in faults.warnings[0]
