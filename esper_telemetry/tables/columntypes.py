"""The Arrow type of each protobuf field, from its descriptor alone: never from the values of a run.

Enums and texts are dictionaries at the top of a table and plain strings inside lists, maps and structs, because
few engines read a dictionary there. A message that contains itself is binary from its second level on: an Arrow type
is finite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import is_map, is_repeated

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

TIME = pa.timestamp("ns", "UTC")
TEXT = pa.dictionary(pa.int32(), pa.string())
LABEL = pa.dictionary(pa.int16(), pa.string())
SCALARS: dict[int, pa.DataType] = {
    FieldDescriptor.TYPE_DOUBLE: pa.float64(),
    FieldDescriptor.TYPE_FLOAT: pa.float32(),
    FieldDescriptor.TYPE_INT32: pa.int32(),
    FieldDescriptor.TYPE_SINT32: pa.int32(),
    FieldDescriptor.TYPE_SFIXED32: pa.int32(),
    FieldDescriptor.TYPE_UINT32: pa.uint32(),
    FieldDescriptor.TYPE_FIXED32: pa.uint32(),
    FieldDescriptor.TYPE_INT64: pa.int64(),
    FieldDescriptor.TYPE_SINT64: pa.int64(),
    FieldDescriptor.TYPE_SFIXED64: pa.int64(),
    FieldDescriptor.TYPE_UINT64: pa.uint64(),
    FieldDescriptor.TYPE_FIXED64: pa.uint64(),
    FieldDescriptor.TYPE_BOOL: pa.bool_(),
    FieldDescriptor.TYPE_BYTES: pa.binary(),
}
# Messages of protobuf's own library that Arrow has a type for.
WELL_KNOWN: dict[str, pa.DataType] = {
    "google.protobuf.Timestamp": TIME,
    "google.protobuf.Duration": pa.duration("ns"),
    "google.protobuf.DoubleValue": pa.float64(),
    "google.protobuf.FloatValue": pa.float32(),
    "google.protobuf.Int32Value": pa.int32(),
    "google.protobuf.Int64Value": pa.int64(),
    "google.protobuf.UInt32Value": pa.uint32(),
    "google.protobuf.UInt64Value": pa.uint64(),
    "google.protobuf.BoolValue": pa.bool_(),
    "google.protobuf.StringValue": pa.string(),
    "google.protobuf.BytesValue": pa.binary(),
}


def column_type(field: FieldDescriptor) -> pa.DataType:
    """Return the type of the column of a field of an event."""
    return field_type(field, holder(field), top=True)


def holder(field: FieldDescriptor) -> tuple[str, ...]:
    """Return the full name of the message that a field belongs to, as what it is inside of."""
    return (field.containing_type.full_name,) if field.containing_type is not None else ()


def map_entry(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor]:
    """Return the fields of key and value of a map."""
    entry: Any = field.message_type
    return entry.fields_by_name["key"], entry.fields_by_name["value"]


def field_type(field: FieldDescriptor, inside: tuple[str, ...], *, top: bool = False) -> pa.DataType:
    """Return the type of a field.

    Args:
        field: the field.
        inside: full names of the messages that contain it, outermost first.
        top: it is a column, not a part of one.
    """
    if is_map(field):
        key, value = map_entry(field)
        return pa.map_(_item_type(key, inside), _item_type(value, inside))
    if is_repeated(field):
        return pa.list_(_item_type(field, inside))
    return _item_type(field, inside, top=top)


def _item_type(field: FieldDescriptor, inside: tuple[str, ...], *, top: bool = False) -> pa.DataType:
    if field.message_type is not None:
        return message_type(field.message_type, inside)
    if field.enum_type is not None:
        return LABEL if top else pa.string()
    if field.type == FieldDescriptor.TYPE_STRING:
        return TEXT if top else pa.string()
    return SCALARS[field.type]


def message_type(message: Descriptor, inside: tuple[str, ...]) -> pa.DataType:
    """Return the type of a nested message: a struct, or a bool where it has no field and can only be set."""
    if message.full_name in WELL_KNOWN:
        return WELL_KNOWN[message.full_name]
    if message.full_name in inside:
        return pa.binary()
    if not message.fields:
        return pa.bool_()
    within = (*inside, message.full_name)
    return pa.struct([pa.field(field.name, field_type(field, within)) for field in message.fields])


def merged_type(one: pa.DataType, other: pa.DataType, where: str) -> pa.DataType:
    """Return the type that holds the values of two versions of a field: structs with the fields of both.

    Raises:
        SchemaError: the versions have different types, which the promise of the schema forbids.
    """
    if one == other:
        return one
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        fields = {field.name: field.type for field in one}
        for field in other:
            known = fields.get(field.name, field.type)
            fields[field.name] = merged_type(known, field.type, f"{where}.{field.name}")
        return pa.struct(list(fields.items()))
    if pa.types.is_map(one) and pa.types.is_map(other) and one.key_type == other.key_type:
        return pa.map_(one.key_type, merged_type(one.item_type, other.item_type, where))
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(merged_type(one.value_type, other.value_type, where))
    raise SchemaError(
        f"{where} is {one} in one record and {other} in another: the type of a field never changes;"
        " read the records apart, or give the new field a name of its own"
    )
