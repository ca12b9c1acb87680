"""The bytes behind a header: what they can make good, and that they are nobody else's."""

from __future__ import annotations

import random

import pytest

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.parity import candidates, pack_parity, parity_size, parse_parity

NAME = bytes(range(32))


@pytest.mark.parametrize("length", [1, 15, 16, 17, 500, 511, 512, 8_191, 8_192, 20_000])
def test_a_parity_comes_back_as_it_was_packed(length):
    frame = random.Random(length).randbytes(length)
    packed = pack_parity(frame, NAME)
    parity = parse_parity(packed)
    assert (parity.frame_bytes, parity.fingerprint) == (length, NAME[:8])
    assert parity_size(packed) == parity_size(b"before" + packed) == len(packed)
    assert len(packed) <= max(64, 48 + length / 20 + 2)
    assert next(candidates(frame, parity)) == frame


def test_a_long_header_takes_few_tries():
    frame = random.Random(0).randbytes(1 << 20)
    packed = pack_parity(frame, NAME)
    assert len(packed) < 17_000
    damaged = bytes(100) + frame[100:9_000] + bytes(100) + frame[9_100:]
    assert len(list(candidates(damaged, parse_parity(packed)))) == 127
    greedy = parse_parity(packed)._replace(block_bytes=16)
    assert not list(candidates(damaged, greedy)), "nobody is made to try a million"


@pytest.mark.parametrize("length", [1, 40, 700, 9_000])
def test_any_damage_as_long_as_a_block_is_made_good(length):
    rng = random.Random(length)
    frame = rng.randbytes(length)
    parity = parse_parity(pack_parity(frame, NAME))
    for _ in range(60):
        at = rng.randrange(length)
        damage = rng.randrange(1, parity.block_bytes + 1)
        damaged = bytearray(frame)
        damaged[at : at + damage] = rng.randbytes(len(damaged[at : at + damage]))
        assert frame in candidates(bytes(damaged), parity), (at, damage)


def test_damage_longer_than_two_blocks_is_not_made_good_and_nothing_is_made_up():
    frame = random.Random(0).randbytes(9_000)
    parity = parse_parity(pack_parity(frame, NAME))
    damaged = bytes(1_000) + frame[1_000:]
    assert frame not in candidates(damaged, parity)
    assert not list(candidates(frame[:-1], parity))


def test_a_changed_bit_anywhere_in_a_parity_is_found():
    packed = pack_parity(random.Random(1).randbytes(300), NAME)
    for at in range(len(packed)):
        changed = bytearray(packed)
        changed[at] ^= 1
        with pytest.raises(CorruptRecordError):
            parse_parity(bytes(changed))
    for cut in range(len(packed)):
        with pytest.raises(CorruptRecordError):
            parse_parity(packed[:cut])


def test_no_other_bytes_are_taken_for_the_end_of_a_parity():
    assert parity_size(b"") == 0
    assert parity_size(b"\xff" * 64) == 0
    assert parity_size(b"\xff\xff\xff\x7fEPAR1234") == 0, "its size is over every limit"
