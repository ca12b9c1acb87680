"""A schema cut into its definitions: by real compilers, of proto2, proto3 and editions, over several packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema import SchemaPool, file_closure, proto_include
from esper_telemetry.schema.comments import Comments
from esper_telemetry.schema.definitions import DESCRIPTOR_PROTO, definition_file, definition_of
from tests.esper_telemetry.schema.strategies import MESSAGES, name_of

OPTIONS = "esper_telemetry/v1/options.proto"

# By path: two packages, a public import, options of one's own, circles, nested types, maps, groups, a service.
SOURCES = {
    "acme/notes.proto": """
        syntax = "proto2";
        package acme;
        import "google/protobuf/descriptor.proto";
        enum Team { TEAM_RED = 1; TEAM_BLUE = 2; }
        message Owner { optional Team team = 1; }
        extend google.protobuf.FieldOptions { optional Owner owner = 50001; }
        extend google.protobuf.EnumValueOptions { optional string hint = 50002; }
    """,
    "acme/geo/v1/point.proto": """
        syntax = "proto3";
        package acme.geo.v1;
        // Where.
        message Point {
          // East.
          double x = 1;
          double y = 2;
        }
        message Unused { string nothing = 1; }
    """,
    "acme/v1/common.proto": """
        syntax = "proto3";
        package acme.v1;
        import public "acme/geo/v1/point.proto";
        import "acme/notes.proto";
        // How it went.
        enum Verdict {
          VERDICT_UNSPECIFIED = 0;
          // Well.
          VERDICT_GOOD = 1 [(acme.hint) = "well"];
        }
        message Tree { string label = 1; Forest inside = 2; }
        message Forest { repeated Tree trees = 1; Verdict verdict = 2; }
    """,
    "acme/v1/beam.proto": """
        syntax = "proto3";
        package acme.v1;
        import "acme/notes.proto";
        import "acme/v1/common.proto";
        import "esper_telemetry/v1/options.proto";
        import "google/protobuf/timestamp.proto";
        // Not an event.
        message Before { uint32 number = 1; }
        // A beam search ended.
        message BeamSearched {
          option (esper_telemetry.v1.event) = { name: "beam.searched" level: LEVEL_NORMAL };
          // What one beam is.
          message Beam {
            enum Fate { FATE_UNSPECIFIED = 0; FATE_KEPT = 3; }
            // Its score.
            optional double score = 1 [(esper_telemetry.v1.meta) = { unit: "1" }];
            Fate fate = 2;
          }
          // Hypotheses that were kept.
          optional uint32 width = 1 [
            (esper_telemetry.v1.meta) = { unit: "{hypothesis}" }, (acme.owner) = { team: TEAM_BLUE }
          ];
          repeated Beam beams = 2;
          map<string, acme.geo.v1.Point> places = 3;
          oneof last { Forest forest = 4; Verdict verdict = 5; }
          google.protobuf.Timestamp at = 6;
          BeamSearched before = 7;
          string camelCased = 8 [json_name = "other"];
        }
        message Alone { option (esper_telemetry.v1.event) = { name: "alone" }; bytes b = 1; }
        service Searches { rpc Search(Before) returns (Alone); }
    """,
    "acme/v1/old.proto": """
        syntax = "proto2";
        package acme.v1;
        import "acme/v1/common.proto";
        import "esper_telemetry/v1/options.proto";
        message OldSearch {
          option (esper_telemetry.v1.event) = { name: "old.search" };
          enum Closed { CLOSED_FIRST = 4; CLOSED_SECOND = 5; }
          required string must = 1;
          optional Closed closed = 2 [default = CLOSED_SECOND];
          repeated group Row = 3 { optional int32 cell = 4 [default = -7]; }
          optional acme.geo.v1.Point point = 5;
          repeated int32 packed = 6 [packed = true];
          extensions 100 to 199;
        }
    """,
    "acme/v1/new.proto": """
        edition = "2023";
        package acme.v1;
        import "esper_telemetry/v1/options.proto";
        option features.field_presence = IMPLICIT;
        option features.enum_type = CLOSED;
        enum Shut { SHUT_ONE = 1; SHUT_TWO = 2; }
        message NewSearch {
          option (esper_telemetry.v1.event) = { name: "new.search" };
          int32 bare = 1;
          int32 explicit = 2 [features.field_presence = EXPLICIT];
          Shut shut = 3 [features.field_presence = EXPLICIT];
          repeated int32 spread = 4 [features.repeated_field_encoding = EXPANDED];
        }
    """,
}
EVENTS = ("BeamSearched", "Alone", "OldSearch", "NewSearch")


def compiled(folder: Path, compiler: str) -> descriptor_pb2.FileDescriptorSet:
    """Return what a compiler makes of SOURCES, comments included."""
    for name, text in SOURCES.items():
        if compiler == "protoc" and "edition =" in text:
            continue  # a protoc of some years ago knows none
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    ours = folder / OPTIONS
    ours.parent.mkdir(parents=True)
    shutil.copy(proto_include() / OPTIONS, ours)
    out = folder / "set.binpb"
    if compiler == "buf":
        buf = shutil.which("buf", path=Path(sys.executable).parent) or pytest.skip("needs buf")
        command = [buf, "build", ".", "--as-file-descriptor-set", "-o", out]
    else:
        protoc = shutil.which("protoc") or pytest.skip("needs protoc")
        names = [name for name in SOURCES if (folder / name).exists()]
        command = [protoc, "-I.", "--include_imports", "--include_source_info", f"--descriptor_set_out={out}", *names]
    subprocess.run(command, check=True, cwd=folder)
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


@pytest.fixture(scope="module", params=["buf", "protoc"])
def stranger(request, tmp_path_factory):
    """A pool with the stranger's files, as a program that imports their modules has it; and their comments on disk."""
    folder = tmp_path_factory.mktemp(request.param)
    files = compiled(folder, request.param)
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        bare = descriptor_pb2.FileDescriptorProto()
        bare.CopyFrom(file)
        bare.ClearField("source_code_info")
        pool.Add(bare)
    (folder / "schema.binpb").write_bytes(files.SerializeToString())
    module = type(sys)(f"stranger_{request.param}_pb2")
    module.__file__ = str(folder / "module.py")
    sys.modules[module.__name__] = module
    messages = [one for file in files.file for one in pool.FindFileByName(file.name).message_types_by_name.values()]
    classes = [message_factory.GetMessageClass(one) for one in messages]
    for cls in classes:
        cls.__module__ = module.__name__
    yield pool
    del sys.modules[module.__name__], classes  # a module holds its classes; without it protobuf makes them again


def cls_of(pool, name: str) -> type:
    try:
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except KeyError:
        pytest.skip("this compiler knows no editions")


def names(files) -> list[str]:
    return [file.name for file in files.file]


def test_an_event_brings_what_it_refers_to_and_nothing_else(stranger):
    assert names(file_closure([cls_of(stranger, "acme.v1.Alone")])) == [OPTIONS, "acme.v1.Alone"]
    closure = file_closure([cls_of(stranger, "acme.v1.BeamSearched")])
    assert sorted(names(closure)) == [
        "acme.geo.v1.Point",
        "acme.v1.BeamSearched",
        "acme.v1.Tree",
        "acme.v1.Verdict",
        "acme/notes.proto",
        OPTIONS,
        "google/protobuf/timestamp.proto",
    ]
    placed = {DESCRIPTOR_PROTO}
    for file in closure.file:
        assert placed.issuperset(file.dependency), f"{file.name} stands before what it imports"
        placed.add(file.name)


@pytest.mark.parametrize("name", EVENTS)
def test_a_reader_without_the_code_has_the_same_message(stranger, name):
    own = cls_of(stranger, f"acme.v1.{name}")
    pool = SchemaPool()
    pool.add(file_closure([own]).SerializeToString())
    theirs = pool.message_class(own.DESCRIPTOR.full_name)
    whole, cut = descriptor_pb2.DescriptorProto(), descriptor_pb2.DescriptorProto()
    own.DESCRIPTOR.CopyToProto(whole)
    theirs.DESCRIPTOR.CopyToProto(cut)
    assert cut.SerializeToString(deterministic=True) == whole.SerializeToString(deterministic=True)
    for field in own.DESCRIPTOR.fields:
        other = theirs.DESCRIPTOR.fields_by_name[field.name]
        assert (other.has_presence, other.is_packed, other.default_value, other.json_name) == (
            field.has_presence,
            field.is_packed,
            field.default_value,
            field.json_name,
        )


def test_values_of_every_kind_come_through(stranger):
    text = (
        '{"width": 3, "beams": [{"score": 0.5, "fate": "FATE_KEPT"}], "places": {"here": {"x": 1, "y": 2}},'
        ' "forest": {"trees": [{"label": "a", "inside": {"verdict": "VERDICT_GOOD"}}]}, "at": "2026-01-01T00:00:00Z",'
        ' "before": {"width": 1}, "other": "c"}'
    )
    own = cls_of(stranger, "acme.v1.BeamSearched")
    pool = SchemaPool()
    pool.add(file_closure([own]).SerializeToString())
    theirs = pool.message_class("acme.v1.BeamSearched")
    written = json_format.Parse(text, own()).SerializeToString(deterministic=True)
    assert json_format.MessageToDict(theirs.FromString(written)) == json_format.MessageToDict(own.FromString(written))


def test_a_closed_enum_stays_closed_and_presence_stays(stranger):
    own = cls_of(stranger, "acme.v1.NewSearch")
    pool = SchemaPool()
    pool.add(file_closure([own]).SerializeToString())
    theirs = pool.message_class("acme.v1.NewSearch").DESCRIPTOR
    assert theirs.fields_by_name["shut"].enum_type.is_closed
    assert [field.has_presence for field in theirs.fields] == [False, True, True, False]


def test_a_file_is_the_same_whatever_else_is_embedded(stranger):
    alone = {file.name: file for file in file_closure([cls_of(stranger, "acme.v1.OldSearch")]).file}
    together = {
        file.name: file
        for file in file_closure([cls_of(stranger, f"acme.v1.{one}") for one in ("BeamSearched", "OldSearch")]).file
    }
    for name, file in alone.items():
        assert together[name].SerializeToString() == file.SerializeToString()
    rest = file_closure([cls_of(stranger, "acme.v1.OldSearch")], known=together)
    assert not rest.file


def test_definitions_in_a_circle_share_a_file(stranger):
    tree, forest = (cls_of(stranger, f"acme.v1.{name}").DESCRIPTOR for name in ("Tree", "Forest"))
    file = definition_file(definition_of(tree))
    assert definition_file(definition_of(forest)) is file
    assert [one.name for one in file.proto.message_type] == ["Tree", "Forest"]
    assert list(file.proto.dependency) == ["acme.v1.Verdict"]


def test_a_file_with_extensions_stays_whole_without_comments(stranger):
    (notes,) = (
        f for f in file_closure([cls_of(stranger, "acme.v1.BeamSearched")]).file if f.name == "acme/notes.proto"
    )
    assert [one.name for one in notes.extension] == ["owner", "hint"]
    assert [one.name for one in notes.message_type] == ["Owner"]
    assert list(notes.dependency) == [DESCRIPTOR_PROTO]
    assert not notes.source_code_info.location


def test_each_definition_has_its_own_comments(stranger):
    pool = SchemaPool()
    pool.add(file_closure([cls_of(stranger, "acme.v1.BeamSearched")]).SerializeToString())
    comments = Comments(pool.files.values())
    event = pool.message_class("acme.v1.BeamSearched").DESCRIPTOR
    assert comments.of_message(event) == "A beam search ended."
    assert comments.of_field(event, 0) == "Hypotheses that were kept."
    assert comments.of_field(event, 1) == ""
    beam = event.nested_types_by_name["Beam"]
    assert (comments.of_message(beam), comments.of_field(beam, 0)) == ("What one beam is.", "Its score.")
    verdict = event.fields_by_name["verdict"].enum_type
    assert (comments.of_enum(verdict), comments.of_value(verdict, 1)) == ("How it went.", "Well.")
    point = event.fields_by_name["places"].message_type.fields_by_name["value"].message_type
    assert (comments.of_message(point), comments.of_field(point, 0)) == ("Where.", "East.")


@pytest.mark.parametrize("cls", MESSAGES, ids=name_of)
def test_a_class_made_from_a_record_is_embedded_under_the_same_names(cls):
    files = file_closure([cls])
    pool = SchemaPool()
    pool.add(files.SerializeToString())
    again = file_closure([pool.message_class(cls.DESCRIPTOR.full_name)])
    assert names(again) == names(files)
    for old, new in zip(files.file, again.file, strict=True):
        bare = descriptor_pb2.FileDescriptorProto()
        bare.CopyFrom(old)
        bare.ClearField("source_code_info")
        assert new.SerializeToString(deterministic=True) == bare.SerializeToString(deterministic=True)


def test_a_long_chain_is_placed_in_order():
    file = descriptor_pb2.FileDescriptorProto(name="chain.proto", package="chain", syntax="proto3")
    for number in range(250):
        message = file.message_type.add(name=f"M{number}")
        if number:
            message.field.add(name="next", number=1, type=11, label=1, type_name=f".chain.M{number - 1}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    closure = file_closure([message_factory.GetMessageClass(pool.FindMessageTypeByName("chain.M249"))])
    assert names(closure)[:2] == ["chain.M0", "chain.M1"]
    assert len(closure.file) == 250


def test_descriptor_proto_is_the_readers_own_even_where_a_record_brings_one():
    theirs = descriptor_pb2.FileDescriptorProto(name=DESCRIPTOR_PROTO, package="google.protobuf", syntax="proto2")
    pool = SchemaPool()
    pool.add(descriptor_pb2.FileDescriptorSet(file=[theirs]).SerializeToString())
    assert not pool.files
    assert pool.message_class("google.protobuf.FieldOptions")
    with pytest.raises(CorruptRecordError):
        pool.message_class("google.protobuf.Nothing")
