from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile import header
from esper_telemetry.recordfile.header import (
    TypeTable,
    add_types,
    descriptor_files,
    header_frame_bytes,
    parse_header_frame,
    random_id,
    writer_name,
)
from esper_telemetry.schema import SchemaPool
from esper_telemetry.v1 import record_pb2


def test_the_first_header_says_who_wrote_the_file_and_what_its_types_are(records):
    header = parse_header_frame(
        header_frame_bytes(TypeTable().first_header(records.header(rank=3, attempt=2, launch="slurm:9"), records.types))
    )
    assert (header.attempt, header.launch) == (2, "slurm:9")
    assert (header.format_major, header.format_minor, header.rank, header.segment) == (1, 0, 3, 1)
    assert header.file_id == bytes(range(16, 32))
    assert {entry.type_id: entry.full_name for entry in header.types} == {n: t.full_name for n, t in records.types}
    assert header.flush_policy.frame_bytes == 262144


def test_the_descriptors_of_a_header_are_enough_to_build_every_class_and_the_context(records):
    header = TypeTable().first_header(records.header(), records.types)
    pool = SchemaPool()
    pool.add(header.file_descriptor_set)
    for entry in header.types:
        assert pool.message_class(entry.full_name).DESCRIPTOR.full_name == entry.full_name
    assert pool.message_class("esper_telemetry.v1.Context").DESCRIPTOR.fields_by_name["step"].number == 8


def test_a_first_header_without_types_declares_the_context_alone(records):
    header = TypeTable().first_header(records.header(), [])
    assert not header.types
    assert descriptor_files(header.file_descriptor_set) == [
        "esper_telemetry/v1/options.proto",
        "esper_telemetry.v1.Context",
    ]


def test_a_type_first_used_later_is_declared_with_only_what_is_new(records):
    table = TypeTable()
    info = records.header()
    table.declared(table.first_header(info, records.types[:1]))
    further = table.further_header(info.file_id, records.types)
    assert [entry.type_id for entry in further.types] == [number for number, _ in records.types[1:]]
    assert "esper_telemetry/v1/options.proto" not in descriptor_files(further.file_descriptor_set)
    assert further.file_id == info.file_id
    table.declared(further)
    assert table.further_header(info.file_id, records.types) is None


def test_a_declaration_that_was_not_written_is_made_again(records):
    table = TypeTable()
    table.declared(table.first_header(records.header(), []))
    first = table.further_header(b"", records.types[:1])
    assert table.further_header(b"", records.types[:1]) == first


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff\xff\xff", "no protobuf"),
        (record_pb2.RecordFile().SerializeToString(), "0 headers and 0 events"),
        (record_pb2.RecordFile(header=[{}, {}]).SerializeToString(), "2 headers"),
        (record_pb2.RecordFile(header=[{}], event=[{}]).SerializeToString(), "1 headers and 1 events"),
        (
            record_pb2.RecordFile(header=[{"file_descriptor_set": bytes((1 << 20) + 1)}]).SerializeToString(),
            "1,048,577 bytes of descriptors",
        ),
    ],
)
def test_a_frame_that_is_no_header_is_refused(raw, message):
    with pytest.raises(CorruptRecordError, match=message):
        parse_header_frame(raw)


@pytest.mark.parametrize(
    ("entry", "message"),
    [((0, "a.B"), "type 0"), ((7, ""), "type 7 as ''"), ((1, "a.C"), "type 1 as 'a.C', which is 'a.B' already")],
)
def test_an_id_is_declared_once_and_never_renamed(entry, message):
    types = {1: "a.B"}
    add_types(types, record_pb2.Header(types=[{"type_id": 1, "full_name": "a.B"}]))
    with pytest.raises(CorruptRecordError, match=message):
        add_types(types, record_pb2.Header(types=[{"type_id": entry[0], "full_name": entry[1]}]))


def test_ids_are_random_and_the_writer_names_its_version():
    assert len(random_id()) == 16
    assert random_id() != random_id()
    assert writer_name().startswith("esper-telemetry-python/")


def test_descriptor_files_lists_names():
    files = descriptor_pb2.FileDescriptorSet(file=[{"name": "a.proto"}, {"name": "b.proto"}])
    assert descriptor_files(files.SerializeToString()) == ["a.proto", "b.proto"]


def test_the_messages_in_the_text_of_the_format_are_those_of_the_schema():
    text = (Path(header.__file__).parent / "FORMAT.md").read_text()
    (block,) = re.findall(r"```proto\n(.*?)```", text, re.DOTALL)
    assert block.count("message ") == 9
    for name, body in re.findall(r"message (\w+) \{(.*?)\n?\}", block, re.DOTALL):
        fields = re.findall(r"([\w<>, ]+?) (\w+) = (\d+);", re.sub(r"//.*", "", body))
        declared = getattr(record_pb2, name).DESCRIPTOR.fields
        assert [(field, int(number)) for _, field, number in fields] == [(one.name, one.number) for one in declared]
        for (kind, _, _), one in zip(fields, declared, strict=True):
            scalar = kind.strip().removeprefix("repeated ").removeprefix("optional ")
            if one.message_type is None:
                assert getattr(one, f"TYPE_{scalar.upper()}") == one.type
            elif not one.message_type.GetOptions().map_entry:
                assert one.message_type.name == scalar
