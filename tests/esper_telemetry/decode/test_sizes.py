"""Sizes told from values are those that protobuf writes."""

from __future__ import annotations

from collections import Counter

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_telemetry import events, read
from esper_telemetry.decode.statistics import count_envelopes, field_sizes
from esper_telemetry.recordfile import RecordReader, Selection
from esper_telemetry.schema import frame_event, varint
from esper_telemetry.schema.envelope import element_size, varint_size
from esper_telemetry.v1 import record_pb2, run_pb2, steps_pb2, training_pb2

EVERYTHING = """
name: "t" package: "t" syntax: "proto3" message_type { name: "M"
  %s
  field { name: "m" number: 40 type: TYPE_MESSAGE type_name: ".t.M" label: LABEL_REPEATED }
}"""
KINDS = ("DOUBLE", "FLOAT", "INT64", "UINT64", "INT32", "FIXED64", "FIXED32", "BOOL", "STRING", "BYTES", "UINT32",
         "SFIXED32", "SFIXED64", "SINT32", "SINT64")  # fmt: skip
VALUES = {"STRING": "é\U0001f331", "BYTES": b"\x00" * 200, "BOOL": True, "DOUBLE": -1.5, "FLOAT": 0.5}


@pytest.fixture(scope="module")
def every_kind():
    fields = []
    for number, kind in enumerate(KINDS, 1):
        fields.append(f'field {{ name: "one{number}" number: {number} type: TYPE_{kind} label: LABEL_OPTIONAL }}')
        fields.append(f'field {{ name: "many{number}" number: {number + 20} type: TYPE_{kind} label: LABEL_REPEATED }}')
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(EVERYTHING % "\n".join(fields), descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.M"))


def total(message) -> int:
    return sum(field_sizes(message).values())


@pytest.mark.parametrize("number", range(1, len(KINDS) + 1), ids=KINDS)
@pytest.mark.parametrize("value", [1, 127, 128, 300_000, -1, -300_000])
def test_every_kind_of_field_single_and_repeated(every_kind, number, value):
    kind = KINDS[number - 1]
    unsigned = kind in ("UINT64", "UINT32", "FIXED64", "FIXED32")
    known = VALUES.get(kind, abs(value) if unsigned else value)
    for message in (every_kind(**{f"one{number}": known}), every_kind(**{f"many{number}": [known] * 3})):
        assert total(message) == message.ByteSize() > 0
    nested = every_kind(m=[every_kind(**{f"one{number}": known}), every_kind()])
    assert total(nested) == nested.ByteSize()


@pytest.mark.parametrize(
    "message",
    [
        training_pb2.ActionDistribution(action_counts={"wait": 300, "": 0, "é": 1}, head="op"),
        run_pb2.RunFinished(results={"a": 0.0, "b": 1.5}, drops=[{"full_name": "x", "count": 3}]),
        record_pb2.Index(type_counts={1: 2, 300: 400}),
        steps_pb2.StepBlock(time_offsets_us=[-1, 0, 300], env_ids=[0, 1, 900], columns=[{"flags": b"x" * 300}]),
    ],
    ids=lambda message: message.DESCRIPTOR.name,
)
def test_maps_packed_lists_and_nested_messages(message):
    assert total(message) == message.ByteSize()


@given(st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None, database=None)
def test_varints(value):
    assert varint_size(value) == len(varint(value))


@pytest.mark.parametrize("seq", [1, 127, 128, 1 << 40])
@pytest.mark.parametrize("context", [b"", b"x" * 5, b"x" * 200])
@pytest.mark.parametrize("payload", [b"", b"y" * 130])
def test_envelopes(seq, context, payload):
    assert element_size(seq, len(context), len(payload)) == len(frame_event(9, 123, seq, context, payload))


def test_the_events_of_a_record_add_up_to_its_frames(record_run):
    folder = record_run()
    (file,) = folder.iterdir()
    with RecordReader(file) as reader:
        raw = sum(frame.raw_size for frame in reader.frames())
    assert sum(event.size for event in read(folder)) == raw


def test_events_of_blocks_add_up_to_them_whether_they_came_as_columns_or_as_messages(record_run):
    def fill(run):
        for number in range(20):
            batch = run.bind(batch_idx=number)
            batch.emit(events.ScalarLogged, name="loss", value=0.5, step=number)
            batch.emit(events.PpoUpdateCompleted, lr=0.1, heads=[{"head": "op", "entropy": number / 7}])

    folder = record_run(fill)
    (file,) = folder.iterdir()
    with RecordReader(file) as reader:
        frames = list(reader.frames())
        blocks = [block for frame in frames for block in reader.read_content(frame, Selection()).blocks]
        assert {block.payloads is None for block in blocks} == {True, False}
        raw = sum(frame.raw_size for frame in frames)
    sizes = Counter()
    for event in read(folder):
        sizes[event.full_name] += event.size
    assert sizes == {key.full_name: each.bytes for key, each in count_envelopes(read(folder)).items()}
    # Beside the events of a block, its tag and its length are in the frame.
    assert 0 <= raw - sizes.total() <= 4 * len(blocks)
