"""Hold proto/ against the rules that buf cannot see, and against the schema of the last release.

    python tools/check_schema.py             exit 1 and one line for each finding
    python tools/check_schema.py --accept    make the present schema the baseline (at a release)

buf guards names, numbers and types. A unit that goes from "ms" to "s", an event that
becomes sheddable or a label that is reworded is wire compatible and still makes a
reader wrong: that is what is compared here. It never looks at generated code and
needs no network.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from esper_telemetry.v1 import context_pb2, options_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
BASELINE = "baseline.binpb"

# protoc types extensions as bare FieldDescriptors.
META: Any = options_pb2.meta
EVENT: Any = options_pb2.event
LABEL: Any = options_pb2.label

CONTEXT = context_pb2.Context.DESCRIPTOR.full_name
CONTEXT_KEY = options_pb2.ContextKey.DESCRIPTOR.full_name

# `.data` is one flat dict of payload and context, so a name is in one of them only, except where they agree.
SAME_NAME_AS_CONTEXT = {
    "esper_telemetry.v1.StepBlock.device": "it becomes Context.device of the rows that the block holds",
    "esper_telemetry.v1.ScalarLogged.step": "a framework's own step, which may go back, is the one to show",
    "esper_telemetry.v1.ScalarsLogged.step": "as in ScalarLogged",
}

MEASURABLE = {
    FieldDescriptor.CPPTYPE_DOUBLE,
    FieldDescriptor.CPPTYPE_FLOAT,
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}


class Schema:
    """The messages and enums of an image, by full name."""

    def __init__(self, image: descriptor_pb2.FileDescriptorSet) -> None:
        """Read `image`, a set of files in dependency order."""
        pool = descriptor_pool.DescriptorPool()
        for file in image.file:
            pool.Add(file)
        self.messages: dict[str, Descriptor] = {}
        self.enums: dict[str, EnumDescriptor] = {}
        for file in image.file:
            if not file.name.startswith("google/"):
                found = pool.FindFileByName(file.name)
                self._add(found.message_types_by_name.values(), found.enum_types_by_name.values())

    def _add(self, messages: Any, enums: Any) -> None:
        self.enums |= {enum.full_name: enum for enum in enums}
        for message in messages:
            if not message.GetOptions().map_entry:
                self.messages[message.full_name] = message
                self._add(message.nested_types, message.enum_types)

    def events(self) -> dict[str, Descriptor]:
        """Return the messages that are marked as events."""
        return {name: message for name, message in self.messages.items() if event_meta(message) is not None}


def compile_protos(folder: Path) -> descriptor_pb2.FileDescriptorSet:
    """Return the compiled schema below `folder`, which holds a buf.yaml.

    Raises:
        subprocess.CalledProcessError: buf refuses a file; it has written why to stderr.
    """
    buf = Path(sys.executable).with_name("buf")
    command = [str(buf), "build", "--exclude-source-info", "--as-file-descriptor-set", "-o", "-"]
    built = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(built.stdout)


def event_meta(message: Descriptor) -> options_pb2.EventMeta | None:
    """Return what the schema states of an event, or None where `message` is none."""
    options = descriptor_pb2.MessageOptions.FromString(message.GetOptions().SerializeToString())
    return options.Extensions[EVENT] if options.HasExtension(EVENT) else None


def field_meta(field: FieldDescriptor) -> options_pb2.FieldMeta:
    """Return unit, kind and range of `field`; all unset where the schema states nothing."""
    options = descriptor_pb2.FieldOptions.FromString(field.GetOptions().SerializeToString())
    meta: options_pb2.FieldMeta = options.Extensions[META]
    return meta


def label(value: Any) -> str:
    """Return the label of an enum value; empty where it has none."""
    options = descriptor_pb2.EnumValueOptions.FromString(value.GetOptions().SerializeToString())
    return str(options.Extensions[LABEL])


def rule_findings(schema: Schema) -> Iterator[str]:
    """Yield what breaks a rule of the house in `schema` by itself."""
    yield from _name_findings(schema)
    yield from _context_key_findings(schema)
    context = {field.name for field in schema.messages[CONTEXT].fields}
    for message in _reachable(schema.events()).values():
        for field in message.fields:
            yield from _measurement_findings(field)
    for field in (field for message in schema.events().values() for field in message.fields):
        if field.name in context and field.full_name not in SAME_NAME_AS_CONTEXT:
            yield f"{field.full_name}: Context has a field of that name, and `.data` shows both in one dict: rename it"


def _name_findings(schema: Schema) -> Iterator[str]:
    owners: dict[str, str] = {}
    for full_name, message in schema.events().items():
        meta = event_meta(message)
        name = meta.name if meta else ""
        if not name:
            yield f'{full_name}: the event has no short name: add `name: "area.what_happened"`'
        elif name in owners:
            yield f"{full_name}: the short name {name!r} belongs to {owners[name]}: choose another"
        owners.setdefault(name, full_name)
        if meta and not meta.level:
            yield f"{full_name}: the event has no level: add one, e.g. `level: LEVEL_NORMAL`"


def _context_key_findings(schema: Schema) -> Iterator[str]:
    fields = {field.number: field.name for field in schema.messages[CONTEXT].fields}
    keys = {
        value.number: value.name.removeprefix("CONTEXT_KEY_").lower()
        for value in schema.enums[CONTEXT_KEY].values
        if value.number
    }
    for number in sorted(fields.keys() | keys.keys()):
        if fields.get(number) != keys.get(number):
            yield (
                f"{CONTEXT_KEY}: number {number} is {keys.get(number)!r}, and {fields.get(number)!r} in {CONTEXT}:"
                " both must name the same fields by the same numbers"
            )


def _reachable(events: dict[str, Descriptor]) -> dict[str, Descriptor]:
    """Return `events` and the messages that they contain."""
    found: dict[str, Descriptor] = {}
    waiting = list(events.values())
    while waiting:
        message = waiting.pop()
        if message.full_name not in found:
            found[message.full_name] = message
            waiting.extend(field.message_type for field in message.fields if field.message_type is not None)
    return {name: message for name, message in found.items() if not message.GetOptions().map_entry}


def _measurement_findings(field: FieldDescriptor) -> Iterator[str]:
    entry = field.message_type
    is_map = entry is not None and bool(entry.GetOptions().map_entry)
    value = entry.fields_by_name["value"] if entry is not None and is_map else field
    numeric = value.cpp_type in MEASURABLE
    meta = field_meta(field)
    if numeric and not meta.unit and meta.kind != options_pb2.KIND_KEY:
        yield f'{field.full_name}: a number needs its unit (`unit: "ms"`; "1" for a pure one) or `kind: KIND_KEY`'
    if not numeric and meta.unit:
        yield f"{field.full_name}: only a number has a unit; it has {meta.unit!r}"
    scalar = numeric or value.cpp_type == FieldDescriptor.CPPTYPE_BOOL
    if scalar and not is_map and not field.is_repeated and not field.has_presence:
        yield f"{field.full_name}: make it `optional`: unset means not measured, and must not read as 0"


def change_findings(old: Schema, new: Schema) -> Iterator[str]:
    """Yield what a reader would misunderstand after a change from `old` to `new`; deletions are buf's to see."""
    for name in old.events().keys() & new.messages.keys():
        yield from _event_changes(old.messages[name], new.messages[name])
    for name in old.messages.keys() & new.messages.keys():
        later = new.messages[name].fields_by_number
        for field in old.messages[name].fields:
            if field.number in later:
                yield from _field_changes(field, later[field.number])
    for name in old.enums.keys() & new.enums.keys():
        later_values = new.enums[name].values_by_number
        for value in old.enums[name].values:
            if value.number in later_values and label(value) != label(later_values[value.number]):
                yield (
                    f"{name}.{value.name}: label changed from {label(value)!r} to"
                    f" {label(later_values[value.number])!r}: filters and queries name it"
                )


def _event_changes(old: Descriptor, new: Descriptor) -> Iterator[str]:
    before, after = event_meta(old), event_meta(new)
    if before is None or after is None:
        yield f"{old.full_name}: is no event any more: keep the option, and stop emitting it instead"
        return
    for name in ("name", "level", "shedding"):
        was, now = getattr(before, name), getattr(after, name)
        if was != now:
            yield f"{old.full_name}: {name} changed from {_shown(before, name)} to {_shown(after, name)}"
    added = sorted(set(after.requires) - set(before.requires))
    if added:
        keys = ", ".join(map(options_pb2.ContextKey.Name, added))
        yield f"{old.full_name}: requires {keys} now: emitters that are right today would be refused"


def _field_changes(old: FieldDescriptor, new: FieldDescriptor) -> Iterator[str]:
    before, after = field_meta(old), field_meta(new)
    for name in ("unit", "kind"):
        if getattr(before, name) != getattr(after, name):
            yield (
                f"{old.full_name}: {name} changed from {_shown(before, name)} to {_shown(after, name)}:"
                " values of both would be compared; add a new field instead"
            )
    if before.allow_non_finite and not after.allow_non_finite:
        yield f"{old.full_name}: NaN was a legal measurement and is none now"


def _shown(meta: Any, name: str) -> str:
    field = meta.DESCRIPTOR.fields_by_name[name]
    value = getattr(meta, name)
    return field.enum_type.values_by_number[value].name if field.enum_type is not None else repr(value)


def findings(folder: Path) -> list[str]:
    """Return all findings of the schema below `folder`, sorted."""
    new = Schema(compile_protos(folder))
    old = Schema(descriptor_pb2.FileDescriptorSet.FromString((folder / BASELINE).read_bytes()))
    return sorted({*rule_findings(new), *change_findings(old, new)})


def main() -> int:
    """Check the schema, or make it the baseline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="make the present schema the baseline")
    parser.add_argument("--proto", type=Path, default=PROTO, help="folder of the schema (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.accept:
        image = compile_protos(arguments.proto)
        (arguments.proto / BASELINE).write_bytes(image.SerializeToString(deterministic=True))
        print(f"{BASELINE}: {len(image.file)} files are the baseline now; state why in CHANGELOG.md")
        return 0
    found = findings(arguments.proto)
    print("\n".join(found) or "ok: the schema keeps its rules and its promises")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
