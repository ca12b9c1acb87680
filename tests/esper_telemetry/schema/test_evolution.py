"""Old readers read new files and new readers old ones, tried on a future schema made from the present one.

In the future every message has a new measurement, a new list and a new nested message,
every enum a new value, and there is an event type that nobody knows today.
"""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given

from esper_telemetry.schema import file_closure, to_plain
from tests.esper_telemetry.schema.strategies import EVENTS, MESSAGES, THOROUGH, full, messages, name_of

FIELD = descriptor_pb2.FieldDescriptorProto
NEW_FIELDS = {"x_measured", "x_list", "x_nested"}
NEW_NUMBER = 9001
NAMES = [name_of(cls) for cls in MESSAGES]


def grow_message(message: descriptor_pb2.DescriptorProto, full_name: str) -> None:
    message.field.add(
        name="x_measured",
        number=NEW_NUMBER,
        type=FIELD.TYPE_DOUBLE,
        label=FIELD.LABEL_OPTIONAL,
        proto3_optional=True,
        oneof_index=len(message.oneof_decl),
    )
    message.oneof_decl.add(name="_x_measured")
    message.field.add(name="x_list", number=NEW_NUMBER + 1, type=FIELD.TYPE_STRING, label=FIELD.LABEL_REPEATED)
    message.field.add(
        name="x_nested",
        number=NEW_NUMBER + 2,
        type=FIELD.TYPE_MESSAGE,
        type_name=full_name,
        label=FIELD.LABEL_OPTIONAL,
    )


def future_of(present: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    future = descriptor_pb2.FileDescriptorSet()
    future.CopyFrom(present)
    for file in future.file:
        if file.name.startswith("google/"):
            continue
        for message in file.message_type:
            grow_message(message, f".{file.package}.{message.name}")
        for enum in file.enum_type:
            enum.value.add(name=f"{enum.name}_X_FUTURE", number=NEW_NUMBER)
    return future


def classes_of(files: descriptor_pb2.FileDescriptorSet) -> dict[str, type]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)  # a reader has it from its own protobuf
    for file in files.file:
        pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in NAMES}


PRESENT_FILES = file_closure(MESSAGES)
PRESENT, FUTURE = classes_of(PRESENT_FILES), classes_of(future_of(PRESENT_FILES))


def known_part(data: object) -> object:
    """Return `.data` less what only the future knows."""
    if isinstance(data, dict):
        return {key: known_part(value) for key, value in data.items() if key not in NEW_FIELDS}
    return [known_part(item) for item in data] if isinstance(data, list) else data


def today(data: object) -> str:
    """Return `.data` as text in which NaN equals NaN, and the future's enum value is its number."""
    return repr(known_part(data)).replace("'X_FUTURE'", str(NEW_NUMBER))


@pytest.mark.parametrize("name", NAMES)
def test_an_old_reader_sees_what_it_knows_and_keeps_the_rest(name):
    @THOROUGH
    @given(messages(FUTURE[name], depth=1))
    def check(written):
        raw = written.SerializeToString(deterministic=True)
        read = PRESENT[name].FromString(raw)
        kept = FUTURE[name].FromString(read.SerializeToString())
        assert repr(to_plain(kept)) == repr(to_plain(written))  # a rewrite by an old tool loses nothing
        present = {field.name for field, _ in read.ListFields()}
        assert present == {field.name for field, _ in written.ListFields()} - NEW_FIELDS

    check()


@pytest.mark.parametrize("name", NAMES)
def test_what_an_old_reader_shows_of_a_full_new_message_is_its_known_part(name):
    written = full_of_the_future(name)
    assert {field.name for field, _ in written.ListFields()} >= NEW_FIELDS
    assert today(to_plain(PRESENT[name].FromString(written.SerializeToString()))) == today(to_plain(written))


def full_of_the_future(name: str):
    """Return a message that has every present field, and the new ones beside them."""
    written = FUTURE[name].FromString(full(PRESENT[name])[0].SerializeToString())
    written.x_measured = 0.5
    written.x_list.append("new")
    written.x_nested.x_measured = 1.5
    return written


@pytest.mark.parametrize("name", NAMES)
def test_a_new_reader_sees_an_old_message_as_it_was(name):
    @THOROUGH
    @given(messages(PRESENT[name]))
    def check(written):
        raw = written.SerializeToString(deterministic=True)
        read = FUTURE[name].FromString(raw)
        assert not read.HasField("x_measured")
        assert read.SerializeToString(deterministic=True) == raw
        assert today(to_plain(read)) == today(to_plain(written))

    check()


def test_an_enum_value_of_the_future_survives_an_old_reader():
    written = FUTURE["esper.v1.SeedStageChanged"](to_stage=NEW_NUMBER)
    assert to_plain(written) == {"to_stage": "SeedStage_X_FUTURE"}
    read = PRESENT["esper.v1.SeedStageChanged"].FromString(written.SerializeToString())
    assert to_plain(read) == {"to_stage": NEW_NUMBER}
    assert read.SerializeToString() == written.SerializeToString()


def test_an_event_of_a_type_nobody_knows_keeps_its_place_in_the_envelope():
    new_file = FUTURE["esper_telemetry.v1.RecordFile"](event=[{"type_id": 1}, {"type_id": 77, "payload": b"?"}])
    read = PRESENT["esper_telemetry.v1.RecordFile"].FromString(new_file.SerializeToString())
    assert [(event.type_id, event.payload) for event in read.event] == [(1, b""), (77, b"?")]


def test_there_is_an_event_to_try_this_on():
    assert len(EVENTS) >= 20
