"""Sequence numbers of a run: what is missing is counted, and what the run accounts for is told apart."""

from __future__ import annotations

from esper_telemetry import read
from esper_telemetry.v1 import run_pb2, training_pb2
from esper_telemetry.views.numbering import MOST_GAPS, Numbering, StreamNumbers

SCALAR = "esper_telemetry.v1.ScalarLogged"
PPO = "esper_telemetry.v1.PpoUpdateCompleted"


def numbered(path) -> Numbering:
    numbering = Numbering()
    for event in read(path, strict=False):
        numbering.see(event)
        if event.type in ("telemetry.dropped", "run.finished"):
            numbering.report(event, event.data)
    return numbering


def test_a_missing_number_is_a_gap_of_every_type_while_nothing_explains_it(write_record, scalars):
    numbering = numbered(write_record(scalars(3), scalars(2), shed=4))
    producer = bytes(range(16))
    assert numbering.missing == 4
    assert [(gap.first, gap.last) for gap in numbering.gaps(producer, PPO)] == [(4, 7)]


def test_a_gap_that_the_run_accounts_for_concerns_the_types_it_names(write_record, scalars):
    drops = [run_pb2.DropCount(full_name=SCALAR, cause="DROP_CAUSE_BUFFER_FULL", count=4)]
    report = [(run_pb2.DropReport(drops=drops, total_dropped=4), {})]
    numbering = numbered(write_record(scalars(3), [*report, *scalars(1)], shed=4))
    producer = bytes(range(16))
    assert numbering.drops == {(SCALAR, "buffer_full"): 4}
    assert numbering.gaps(producer, SCALAR)
    assert not numbering.gaps(producer, PPO)


def test_the_end_of_a_run_tells_what_came_after_the_last_number(write_record):
    ended = [(run_pb2.RunFinished(outcome="RUN_OUTCOME_COMPLETED", offered=9, dropped=7), {})]
    first = [(training_pb2.ScalarLogged(name="n", value=1.0), {})]
    numbering = numbered(write_record(first, ended))
    assert numbering.missing == 7


def test_events_that_were_chosen_by_a_filter_tell_no_loss(write_record, scalars):
    numbering = Numbering()
    numbering.partial = True
    for event in read(write_record(scalars(3), scalars(2), shed=4), strict=False):
        numbering.see(event)
    assert numbering.missing == 0
    assert not numbering.gaps(bytes(range(16)), SCALAR)


def test_very_many_gaps_are_joined_and_still_counted():
    numbers = StreamNumbers("main", 0, 1, 1, 0)
    for seq in range(1, 6 * MOST_GAPS, 2):
        numbers.see(seq, 0)
    assert len(numbers.gaps) <= MOST_GAPS
    assert numbers.missing == 3 * MOST_GAPS - 1
    assert sum(gap.numbers for gap in numbers.gaps) == numbers.missing
