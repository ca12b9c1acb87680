"""A snapshot under way is handed over exactly once, in order, and holds a slot until then."""

from __future__ import annotations

from esper_telemetry.counters.cells import layout_of
from esper_telemetry.counters.pending import Outbox, PendingSnapshot
from esper_telemetry.counters.snapshot import Snapshot, Tag
from tests.esper_telemetry.counters.naive import spec_of

SPEC = spec_of(1)


class Letter:
    """A readback that arrives when the test says so."""

    def __init__(self, number):
        self.tag = Tag(number, number, 0, 0, "cpu")
        self.arrived = False
        self.waits = self.reads = 0

    def done(self):
        return self.arrived

    def wait(self):
        self.waits += 1
        self.arrived = True

    def read(self):
        self.reads += 1
        return Snapshot(SPEC, [0] * layout_of(SPEC).int_cells, [], self.tag)


def sent(outbox, number):
    letter = Letter(number)
    return letter, outbox.put(PendingSnapshot(letter, letter.tag))


def test_poll_takes_those_that_arrived_in_the_order_of_their_flushes():
    outbox = Outbox(3)
    first, second = (sent(outbox, number)[0] for number in (1, 2))
    second.arrived = True
    assert outbox.poll() == [], "the first one is still under way"
    first.arrived = True
    assert [one.batch_idx for one in outbox.poll()] == [1, 2]
    assert outbox.poll() == []
    assert (first.reads, first.waits) == (1, 0)


def test_a_result_waits_once_and_is_kept():
    outbox = Outbox(2)
    letter, pending = sent(outbox, 4)
    assert not pending.done()
    assert not pending.taken
    assert pending.result() is pending.result()
    assert (letter.waits, letter.reads) == (1, 1)
    assert pending.done()
    assert pending.taken
    assert list(pending.events()) == []
    assert outbox.poll() == []


def test_an_outbox_is_full_until_one_is_taken_whoever_takes_it():
    outbox = Outbox(2)
    (_, one), (letter, _) = sent(outbox, 1), sent(outbox, 2)
    assert outbox.full
    one.result()
    assert not outbox.full
    sent(outbox, 3)
    assert outbox.full
    letter.arrived = True
    assert [snapshot.batch_idx for snapshot in outbox.poll()] == [2]
    assert [pending.batch_idx for pending in outbox.waiting()] == [3]
    outbox.clear()
    assert outbox.waiting() == []
