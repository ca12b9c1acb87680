"""A schema cut into its top-level definitions, each a .proto file of its own: a record embeds those that it uses.

The message `acme.v1.BeamSearched` becomes a file of that name: package, syntax or edition, the definition, its own
comments (the leading ones, each on one line), and imports of exactly what it refers to and of the extensions that its
options use. What it holds depends on the definition alone, never on what else a record embeds: equal definitions are
equal bytes, and a name stands for one content. Definitions that refer to each other in a circle share a file, named
after the first.

Files that declare extensions, which belong to no one definition, stay whole and have no comments; so do those of
google/protobuf, which every protobuf knows by their names. google/protobuf/descriptor.proto itself is never embedded: a
reader has it from its own protobuf. Services are left out, for no event has one.

Pure but for reading `schema.binpb` (see `commented_files`). For any thread; what is returned is shared and not changed.
"""

from __future__ import annotations

import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from esper_telemetry.schema.comments import ENUMS, MESSAGES, comment_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.message import Message

    _Declared = descriptor_pb2.DescriptorProto | descriptor_pb2.EnumDescriptorProto

DESCRIPTOR_PROTO = descriptor_pb2.DESCRIPTOR.name
_WELL_KNOWN = "google/protobuf/"
_FIELD = descriptor_pb2.FieldDescriptorProto
# Programs have a few .proto files; of a program with more, some are cut again.
_MOST_FILES = 128


class Definition(NamedTuple):
    """A top-level message or enum.

    Attributes:
        file: descriptor of the .proto file that declares it.
        name: its name there.
    """

    file: Any
    name: str


class DefinitionFile(NamedTuple):
    """A file to embed.

    Attributes:
        proto: its descriptor.
        needs: what it refers to in other files.
    """

    proto: descriptor_pb2.FileDescriptorProto
    needs: tuple[Definition, ...]


def definition_of(descriptor: Any) -> Definition:
    """Return the top-level definition that a message or enum is, or lies in, by its descriptor."""
    while descriptor.containing_type is not None:
        descriptor = descriptor.containing_type
    return Definition(descriptor.file, descriptor.name)


def definition_file(definition: Definition) -> DefinitionFile:
    """Return the file that carries a definition; the same one for each definition in it."""
    return _cut(definition.file).file_of(definition.name)


def folder_of(module: str) -> Path | None:
    """Return the folder of a loaded module; None if it is none, or has no file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).parent if file else None


@cache
def commented_files(folder: Path | None) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Return name → file of the `schema.binpb` of a package; a missing or foreign one only costs the comments."""
    if folder is None:
        return {}
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString((folder / "schema.binpb").read_bytes()).file
    except (OSError, DecodeError):
        return {}
    return {file.name: file for file in files}


@lru_cache(maxsize=_MOST_FILES)
def _cut(file: Any) -> _CutFile:
    return _CutFile(file)


class _CutFile:
    """One .proto file, and the files that its definitions become."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._proto = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)
        self._definitions = _definitions(self._proto)
        self._uses = {name: tuple(dict.fromkeys(_of(file, one))) for name, one in self._definitions.items()}
        self._stays_whole = _stays_whole(self._proto)
        self._reached: dict[str, frozenset[str]] = {}
        self._groups: dict[str, tuple[str, ...]] = {}
        self._files: dict[str, DefinitionFile] = {}

    def name_of(self, name: str) -> str:
        """Return the name of the file of the definition called `name`."""
        if self._stays_whole or _is_cut(self._proto):
            return str(self._file.name)
        return _full_name(self._proto, self._circle(name)[0])

    def file_of(self, name: str) -> DefinitionFile:
        """Return the file of the definition called `name`."""
        key = self.name_of(name)
        if key not in self._files:
            self._files[key] = self._made(key, list(self._definitions) if self._stays_whole else self._circle(name))
        return self._files[key]

    def _circle(self, name: str) -> tuple[str, ...]:
        """Return `name` and the definitions that refer to it and that it refers to, in the order of the file."""
        if name not in self._groups:
            mutual = {other for other in self._reach(name) if name in self._reach(other)} | {name}
            group = tuple(one for one in self._definitions if one in mutual)
            self._groups.update(dict.fromkeys(group, group))
        return self._groups[name]

    def _reach(self, name: str) -> frozenset[str]:
        """Return what a definition refers to in its own file, over any number of steps."""
        if name not in self._reached:
            found: set[str] = set()
            ahead = [name]
            while ahead:
                here = {used.name for used in self._uses[ahead.pop()] if used.file.name == self._file.name} - found
                found |= here
                ahead += here
            self._reached[name] = frozenset(found)
        return self._reached[name]

    def _made(self, name: str, group: Sequence[str]) -> DefinitionFile:
        whole = self._proto
        proto = descriptor_pb2.FileDescriptorProto(
            name=name,
            package=whole.package or None,
            message_type=[one for one in whole.message_type if one.name in group],
            enum_type=[one for one in whole.enum_type if one.name in group],
            syntax=whole.syntax or None,
            edition=whole.edition or None,
        )
        for feature, value in whole.options.features.ListFields():  # of the options of a file only these change events
            if not feature.is_extension:  # those of another language's generator
                setattr(proto.options.features, feature.name, value)
        uses = [used for one in group for used in self._uses[one]]
        if self._stays_whole:
            proto.extension.extend(whole.extension)
            uses += [used for one in whole.extension for used in _of_field(self._file, one)]
        else:
            self._comment(proto)
        needs = {_cut(used.file).name_of(used.name): used for used in uses}
        needs.pop(name, None)
        proto.dependency.extend(sorted(needs))
        needs.pop(DESCRIPTOR_PROTO, None)
        return DefinitionFile(proto, tuple(needs[one] for one in sorted(needs)))

    def _comment(self, proto: descriptor_pb2.FileDescriptorProto) -> None:
        """Give a file the comments on its definitions, under the positions that these have in it."""
        commented = commented_files(folder_of(_module_of(self._file))).get(self._file.name)
        if commented is None or _structure(commented) != _structure(self._proto):  # none, or of another version of it
            return
        said = {tuple(one.path): one.leading_comments for one in commented.source_code_info.location}
        pairs: tuple[tuple[int, Any, Any], ...] = (
            (MESSAGES, self._proto.message_type, proto.message_type),
            (ENUMS, self._proto.enum_type, proto.enum_type),
        )
        for kind, there, here in pairs:
            was = [one.name for one in there]
            for at, one in enumerate(here):
                for path in comment_paths(one):
                    text = " ".join(said.get((kind, was.index(one.name), *path), "").split())
                    if text:
                        proto.source_code_info.location.add(path=[kind, at, *path], leading_comments=text)


def _stays_whole(proto: descriptor_pb2.FileDescriptorProto) -> bool:
    return proto.name.startswith(_WELL_KNOWN) or bool(proto.extension) or any(map(_extends, proto.message_type))


def _extends(message: descriptor_pb2.DescriptorProto) -> bool:
    return bool(message.extension) or any(map(_extends, message.nested_type))


def _is_cut(proto: descriptor_pb2.FileDescriptorProto) -> bool:
    """Tell whether a file is what a definition became: its class was made from a record."""
    return any(proto.name == _full_name(proto, name) for name in _definitions(proto))


def _full_name(proto: descriptor_pb2.FileDescriptorProto, name: str) -> str:
    return f"{proto.package}.{name}" if proto.package else name


def _definitions(proto: descriptor_pb2.FileDescriptorProto) -> dict[str, _Declared]:
    found: dict[str, _Declared] = {one.name: one for one in proto.message_type}
    return found | {one.name: one for one in proto.enum_type}


def _module_of(file: Any) -> str:
    """Return the name of the Python module that a file was generated into."""
    for message in file.message_types_by_name.values():
        cls: type[Message] = message_factory.GetMessageClass(message)
        return cls.__module__
    return str(file.name.removesuffix(".proto").replace("/", ".").replace("-", "_")) + "_pb2"


def _structure(file: descriptor_pb2.FileDescriptorProto) -> bytes:
    """Return `file` as bytes less what does not change a structure: comments and JSON names."""
    bare = descriptor_pb2.FileDescriptorProto()
    bare.CopyFrom(file)
    bare.ClearField("source_code_info")
    messages = list(bare.message_type)
    while messages:
        message = messages.pop()
        messages.extend(message.nested_type)
        for field in (*message.field, *message.extension):
            field.ClearField("json_name")
    for field in bare.extension:
        field.ClearField("json_name")
    return bare.SerializeToString(deterministic=True)


# --- what a definition refers to --------------------------------------------------------------------------------------


def _of(file: Any, one: _Declared) -> Iterator[Definition]:
    """Yield the definitions that one refers to, and each file whose extensions its options use."""
    return _of_message(file, one) if isinstance(one, descriptor_pb2.DescriptorProto) else _of_enum(file, one)


def _of_message(file: Any, message: Any) -> Iterator[Definition]:
    yield from _of_options(file, message)
    for field in (*message.field, *message.extension):
        yield from _of_field(file, field)
    for one in (*message.oneof_decl, *message.extension_range):
        yield from _of_options(file, one)
    for nested in message.nested_type:
        yield from _of_message(file, nested)
    for enum in message.enum_type:
        yield from _of_enum(file, enum)


def _of_enum(file: Any, enum: Any) -> Iterator[Definition]:
    for one in (enum, *enum.value):
        yield from _of_options(file, one)


def _of_field(file: Any, field: descriptor_pb2.FieldDescriptorProto) -> Iterator[Definition]:
    yield from _of_options(file, field)
    if field.extendee:
        yield definition_of(file.pool.FindMessageTypeByName(field.extendee.lstrip(".")))
    if field.type == _FIELD.TYPE_ENUM:
        yield definition_of(file.pool.FindEnumTypeByName(field.type_name.lstrip(".")))
    elif field.type_name:
        yield definition_of(file.pool.FindMessageTypeByName(field.type_name.lstrip(".")))


def _of_options(file: Any, one: Any) -> Iterator[Definition]:
    """Yield each file that declares an extension which is set in the options of `one`; such a file stays whole.

    Extensions are found by their numbers: those of another pool are unknown fields to the classes used here.
    """
    if not one.HasField("options"):
        return
    kind = one.options.DESCRIPTOR.full_name
    numbers = [field.number for field, _ in one.options.ListFields() if field.is_extension]
    unknown: Any = UnknownFieldSet(one.options)  # its stub lacks the iterator
    for number in numbers + [field.field_number for field in unknown]:
        try:
            extension = file.pool.FindExtensionByNumber(file.pool.FindMessageTypeByName(kind), number)
        except KeyError:  # nobody here knows it either
            continue
        yield Definition(extension.file, "")
