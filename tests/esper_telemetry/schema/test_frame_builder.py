"""Whatever events are put into a frame, the same ones come out: type, number, time, context and message."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.recordfile.block_columns import parse_block
from esper_telemetry.recordfile.frame_messages import ENVELOPES, frame_class
from esper_telemetry.schema.event_block import FEWEST_EVENTS
from esper_telemetry.schema.frame_builder import EventGroup, EventRows, build_frame, exact_row, fields_of
from esper_telemetry.v1 import record_pb2
from esper_telemetry.v1.context_pb2 import Context
from esper_telemetry.v1.training_pb2 import PpoUpdateCompleted, ScalarLogged
from tests.esper_telemetry.schema.strategies import EVENTS, THOROUGH, messages

TIMES = st.integers(1_700_000_000_000_000_000, 1_900_000_000_000_000_000)
SCALAR = fields_of(ScalarLogged, ["value", "name"])


def read(raw: bytes) -> list[tuple[int, int, int, Context, bytes]]:
    """Return type id, number, time, context and payload of each event, in the order of their numbers."""
    found = [
        (e.type_id, e.seq, e.time_unix_nano, e.context, e.payload) for e in record_pb2.RecordFile.FromString(raw).event
    ]
    for serialized in frame_class(ENVELOPES).FromString(raw).block:
        block = parse_block(serialized)
        each = zip(block.seqs, block.times, block.serialized_contexts(), block.serialized_payloads(), strict=True)
        found += [(block.type_id, seq, time, Context.FromString(where), data) for seq, time, where, data in each]
    return sorted(found, key=lambda event: event[1])


@THOROUGH
@given(st.data())
def test_events_come_out_as_they_were_put_in(data):
    kinds = data.draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=3, unique=True))
    put, seq = [], 0
    rows = EventRows()
    for _ in range(data.draw(st.integers(1, 12))):
        seq += data.draw(st.integers(1, 3))
        type_id = data.draw(st.integers(1, len(kinds)))
        message, context = data.draw(messages(kinds[type_id - 1])), data.draw(messages(Context))
        payload = message.SerializeToString()
        time = data.draw(TIMES)
        rows.add(type_id, seq, time, context, payload, message=message if data.draw(st.booleans()) else None)
        put.append((type_id, seq, time, context, payload))
    assert repr(read(build_frame(rows.groups()).raw)) == repr(put)  # repr: no NaN equals another


def scalars(seqs, values, names, type_id=1) -> EventGroup:
    context = fields_of(Context, ["step"])
    return EventGroup(type_id, seqs, [1000 + seq for seq in seqs], context, [list(seqs)], SCALAR, [names, values])


def test_events_of_a_kind_become_one_block_wherever_they_come_from():
    groups = [scalars([2, 5], [0.5, 1.5], ["a", "b"]), scalars([1, 3, 4], [9.0], ["c"])]
    frame = build_frame(groups)
    parsed = record_pb2.RecordFile.FromString(frame.raw)
    assert (len(parsed.event), len(parsed.block)) == (0, 1)
    values = [(ScalarLogged.FromString(data).name, ScalarLogged.FromString(data).value) for *_, data in read(frame.raw)]
    assert values == [("c", 9.0), ("a", 0.5), ("c", 9.0), ("c", 9.0), ("b", 1.5)]
    assert [where.step for _, _, _, where, _ in read(frame.raw)] == [1, 2, 3, 4, 5]


def test_a_group_that_is_too_small_stays_envelopes_in_the_order_of_their_numbers():
    few = range(1, FEWEST_EVENTS)
    groups = [scalars([seq + 10 * kind for seq in few], [0.5], ["a"], kind) for kind in (3, 1, 2)]
    parsed = record_pb2.RecordFile.FromString(build_frame(groups).raw)
    assert not parsed.block
    assert [event.seq for event in parsed.event] == [seq + 10 * kind for kind in (1, 2, 3) for seq in few]


def test_the_ranges_of_batch_and_step_are_those_of_all_events():
    frame = build_frame([scalars([2, 5], [0.5], ["a"]), scalars([40], [0.5], ["a"], 2)])
    assert (frame.batch_range, frame.step_range) == (None, (2, 40))
    groups = [scalars([1, 2, 3], [0.5], ["a"]), scalars([4, 5], [0.5], ["a"], 2)]
    steps = [[20, 7, 30], [9, 8]]
    frame = build_frame([one._replace(context=[each]) for one, each in zip(groups, steps, strict=True)])
    assert frame.step_range == (7, 30)


def test_an_event_without_fields_and_context_is_kept():
    for count in (1, FEWEST_EVENTS):
        group = EventGroup(7, list(range(1, count + 1)), [5] * count, (), [], (), [])
        assert [event[0] for event in read(build_frame([group]).raw)] == [7] * count


def test_what_columns_would_not_give_back_stays_as_it_is():
    message = PpoUpdateCompleted(lr=0.5)
    assert exact_row(message, message.SerializeToString()) is not None
    unknown = message.SerializeToString() + b"\xfa\xff\xff\xff\x0f\x01x"
    assert exact_row(PpoUpdateCompleted.FromString(unknown), unknown) is None


def test_others_may_run_between_columns_of_many_values():
    small, large = itertools.count(), itertools.count()
    build_frame([scalars([1, 2, 3], [0.5], ["a"])], lambda: next(small))
    assert next(small) == 0  # each pause costs as much as many values
    build_frame([scalars(range(1, 5001), [0.5] * 5000, ["a"] * 5000)], lambda: next(large))
    assert next(large) == len(SCALAR) + 1
