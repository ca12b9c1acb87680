from esper_telemetry.events import ScalarLogged
from esper_telemetry.schema import Batch, event_type
from esper_telemetry.schema.event_block import Field, encode_block, encode_column
from esper_telemetry.sinks import BatchDecoder, MemorySink


def test_types_are_kept_from_the_batch_that_declares_them(stream):
    decoder = BatchDecoder()
    first = decoder.decode(stream.batch(2, size=3, new_types=stream.types))
    assert [(event.seq, event.name, event.data) for event in first] == [
        (seq, "scalar.logged", {"name": "xxx", "value": 1.5}) for seq in (1, 2)
    ]
    assert [event.time_unix_nano - stream.start for event in decoder.decode(stream.batch(2))] == [3000, 4000]


def test_events_that_came_by_column_are_decoded_like_any_other():
    fields = {number: encode_column(Field(number, kind), values) for number, kind, values in (
        (1, 9, ["loss", "lr", "loss"]), (2, 1, [1.5, 0.1, 1.25]),
    )}  # fmt: skip
    block = encode_block(1, [1, 2, 4], [10, 11, 12], [encode_column(Field(1, 13), [7, 7, 7])], fields.values())
    batch = Batch.of_raw(block, {1: 3}, (1, 4), (10, 12), new_types=[(1, event_type(ScalarLogged))])
    assert [(event.seq, event.data) for event in BatchDecoder().decode(batch)] == [
        (1, {"name": "loss", "value": 1.5, "env_id": 7}),
        (2, {"name": "lr", "value": 0.1, "env_id": 7}),
        (4, {"name": "loss", "value": 1.25, "env_id": 7}),
    ]
    memory = MemorySink()
    memory.write(batch)
    assert [(event.seq, event.context.env_id) for event in memory.events()] == [(1, 7), (2, 7), (4, 7)]
