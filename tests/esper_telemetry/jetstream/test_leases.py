"""The shares of consumers: whatever the start, a few rounds bring every partition to one living owner."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.jetstream.leases import Lease, decide, lease_key, lost, share_of

RECORDERS = ["a", "b", "c", "d", "e"]


@given(
    st.sets(st.sampled_from(RECORDERS), min_size=1),
    st.lists(st.sampled_from(["", *RECORDERS]), min_size=1, max_size=16),
    st.randoms(use_true_random=False),
)
def test_all_partitions_come_to_rest_with_the_living_in_even_shares(alive, start, rng: random.Random):
    owners = dict(enumerate(start))
    for _ in range(4):
        seen = dict(owners)  # all of them look before one acts; compare-and-set lets the first one win
        for me in rng.sample(sorted(alive), len(alive)):
            decision = decide(me, alive, seen)
            assert not [number for number in decision.take if seen[number] in alive], "taken from the living"
            for number in decision.take:
                if owners[number] == seen[number]:
                    owners[number] = me
            for number in decision.release:
                assert seen[number] == me
                owners[number] = ""
    shares = [list(owners.values()).count(me) for me in alive]
    while set(owners.values()) - alive:  # those that reached for the same try again; each round settles some
        me = rng.choice(sorted(alive))
        for number in decide(me, alive, owners).take:
            owners[number] = me
        shares = [list(owners.values()).count(me) for me in alive]
    assert max(shares) - min(shares) <= 1
    assert all(decide(me, alive, owners) == ([], []) for me in alive)


@given(st.sets(st.sampled_from(RECORDERS), min_size=1), st.integers(1, 32))
def test_the_shares_make_up_all_partitions(alive, partitions):
    assert sum(share_of(me, alive, partitions) for me in alive) == partitions


def test_a_lease_is_what_was_written():
    lease = Lease("0123456789abcdef", 17)
    assert Lease.from_bytes(lease.to_bytes()) == lease
    with pytest.raises(CorruptRecordError, match="no lease"):
        Lease.from_bytes(b'{"consumer": 1}')
    assert lease_key(3) == "lease.3"


def test_a_lease_is_lost_where_another_consumer_or_none_owns_the_partition():
    assert lost("a", [0, 1, 2], {0: "a", 1: "b", 2: "", 3: "b"}) == [1, 2]
