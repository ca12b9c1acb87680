"""What a reader did not get, in words."""

from __future__ import annotations

import pytest

from esper_telemetry.decode.faults import Faults
from esper_telemetry.decode.losses import StreamLosses
from esper_telemetry.errors import CorruptRecordError, NotARecordError
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


def test_what_was_measured_of_a_stream_is_taken_over():
    losses = StreamLosses(missing=3, warnings=[("f", "3 sequence numbers have no event")], notes=[("f", "pruned")])
    faults = Faults(strict=True)
    losses.report(faults)
    assert (faults.missing, faults.warnings, faults.notes) == (
        3,
        ["f: 3 sequence numbers have no event"],
        ["f: pruned"],
    )
    assert faults.losses == [("f", "3 sequence numbers have no event")]


def test_a_file_that_is_gone_costs_the_numbers_it_had():
    faults = Faults(strict=True)
    faults.gone("f", NotARecordError("there is no such file", path="f"), (4, 9))
    assert faults.missing == 6
    assert faults.warnings == ["f: there is no such file; sequence numbers 4 to 9 were in it and are missing"]
