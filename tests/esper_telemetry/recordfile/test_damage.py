from __future__ import annotations

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import Damage, Truncation


def test_a_cut_file_has_one_wording():
    assert str(Truncation(frame=12, start=9000, offset=10_500, events=3_456)) == (
        "file ends inside frame 12 at byte 10,500; 3,456 events before it are intact"
    )


def test_damage_says_what_where_and_what_it_costs():
    assert str(Damage(1000, 2000, "it is zero")) == "bytes 1,000 to 2,000 cannot be read: it is zero"
    assert str(Damage(5, 5, "out of order")) == "out of order"
    assert str(Damage(5, 6, "torn", 7, 9)) == "bytes 5 to 6 cannot be read: torn; sequence numbers 7 to 9 are lost"
    assert str(Damage(5, 6, "torn", 7, 7)).endswith("; sequence number 7 is lost")


def test_damage_becomes_an_error_with_place_and_next_step():
    error = Damage(1000, 2000, "torn").error("a.esr.zst")
    assert isinstance(error, CorruptRecordError)
    assert str(error) == (
        "a.esr.zst at byte 1,000: bytes 1,000 to 2,000 cannot be read: torn; run esper-telemetry recover"
    )
    assert error.offset == 1000
