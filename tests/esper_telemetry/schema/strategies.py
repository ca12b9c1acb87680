"""Messages for tests, made from descriptors: no list of events and fields is kept here.

`messages(cls)` draws any legal message, `full(cls)` returns messages in which every
field is set to something that is not its default: one message, or of a oneof several.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import settings
from hypothesis import strategies as st

import esper.v1
import esper_telemetry.v1
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import event_type, is_map, is_repeated

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

F = FieldDescriptor
_I32, _I64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
_U32, _U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    F.TYPE_DOUBLE: st.floats(width=64),
    F.TYPE_FLOAT: st.floats(width=32),
    **dict.fromkeys((F.TYPE_INT32, F.TYPE_SINT32, F.TYPE_SFIXED32), _I32),
    **dict.fromkeys((F.TYPE_INT64, F.TYPE_SINT64, F.TYPE_SFIXED64), _I64),
    **dict.fromkeys((F.TYPE_UINT32, F.TYPE_FIXED32), _U32),
    **dict.fromkeys((F.TYPE_UINT64, F.TYPE_FIXED64), _U64),
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_STRING: st.text(max_size=12),
    F.TYPE_BYTES: st.binary(max_size=12),
}
_SAMPLES: dict[int, Any] = {
    F.TYPE_DOUBLE: 0.5,
    F.TYPE_FLOAT: 0.5,
    F.TYPE_BOOL: True,
    F.TYPE_STRING: "x",
    F.TYPE_BYTES: b"x",
}

# Drawn messages need no deadline (the machine is shared) and no database of failures.
THOROUGH = settings(max_examples=20, deadline=None, database=None)


def _modules() -> list[Any]:
    packages = (esper_telemetry.v1, esper.v1)
    names = [f"{p.__name__}.{m.name}" for p in packages for m in pkgutil.iter_modules(p.__path__)]
    return [importlib.import_module(name) for name in sorted(names) if name.endswith("_pb2")]


def _is_event(cls: type[Message]) -> bool:
    try:
        event_type(cls)
    except SchemaError:
        return False
    return True


MODULES = _modules()
MESSAGES: list[type[Message]] = [getattr(m, name) for m in MODULES for name in m.DESCRIPTOR.message_types_by_name]
EVENTS = [cls for cls in MESSAGES if _is_event(cls)]


def name_of(cls: type[Message]) -> str:
    """Return the name of a class as the id of a test."""
    return cls.DESCRIPTOR.full_name


def messages(cls: type[Message], depth: int = 2) -> st.SearchStrategy[Message]:
    """Draw messages of `cls` in which each field is set or unset, nested to `depth`."""
    return _fields(cls.DESCRIPTOR, depth).map(lambda fields: cls(**fields))


def _fields(descriptor: Descriptor, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    fields = [f for f in descriptor.fields if depth > 0 or f.type != F.TYPE_MESSAGE or is_map(f)]
    alone = {field.name: _field(field, depth) for field in fields if not _alternatives(field)}
    drawn = st.fixed_dictionaries({}, optional=alone)
    oneofs = {field.containing_oneof.name: _alternatives(field) for field in fields if _alternatives(field)}
    for names in oneofs.values():
        one = [st.fixed_dictionaries({f.name: _field(f, depth)}) for f in fields if f.name in names]
        drawn = st.builds(lambda some, more: some | more, drawn, st.just({}) | st.one_of(one))
    return drawn


def _alternatives(field: FieldDescriptor) -> list[str]:
    """Return the names of the oneof that `field` belongs to; proto3 makes one named `_x` of every `optional x`."""
    oneof = field.containing_oneof
    return [] if oneof is None or oneof.name.startswith("_") else [other.name for other in oneof.fields]


def _field(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if is_map(field):
        entry = field.message_type.fields_by_name
        return st.dictionaries(_item(entry["key"], depth), _item(entry["value"], depth), max_size=3)
    return st.lists(_item(field, depth), max_size=3) if is_repeated(field) else _item(field, depth)


def _item(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.type == F.TYPE_MESSAGE:
        return _fields(field.message_type, depth - 1)
    if field.type == F.TYPE_ENUM:  # proto3 enums are open: numbers of the future must survive
        known = st.sampled_from([value.number for value in field.enum_type.values])
        return known if field.enum_type.is_closed else known | _I32
    return _SCALARS[field.type]


def full(cls: type[Message]) -> list[Message]:
    """Return messages of `cls` in which every field, nested ones too, differs from its default.

    It is one message, except that a oneof needs one for each of its alternatives.
    """
    return [cls(**_full_fields(cls.DESCRIPTOR, choice)) for choice in range(_choices(cls.DESCRIPTOR))]


def _choices(descriptor: Descriptor) -> int:
    return max([1, *(len(_alternatives(field)) for field in descriptor.fields)])


def _full_fields(descriptor: Descriptor, choice: int) -> dict[str, Any]:
    """Return values for the fields; of a oneof the one at `choice`."""
    filled = {}
    for field in descriptor.fields:
        names = _alternatives(field)
        if not names or names[choice % len(names)] == field.name:
            filled[field.name] = _full_field(field)
    return filled


def _full_field(field: FieldDescriptor) -> Any:
    if is_map(field):
        entry = field.message_type.fields_by_name
        return {_full_item(entry["key"]): _full_item(entry["value"])}
    return [_full_item(field)] if is_repeated(field) else _full_item(field)


def _full_item(field: FieldDescriptor) -> Any:
    if field.type == F.TYPE_MESSAGE:
        return _full_fields(field.message_type, 0)
    if field.type == F.TYPE_ENUM:
        return field.enum_type.values[1].number
    return _SAMPLES.get(field.type, field.number)
