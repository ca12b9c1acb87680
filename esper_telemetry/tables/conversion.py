"""From the arrays that ptars decodes to the columns of a table: unset is NULL, numbers of enums are labels.

It works array by array and makes no Python object for a value. ptars gives the default where a field without presence
is unset; the rule of `.data` (`schema.to_plain`) is that such a value was not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema import enum_labels, is_map, is_repeated
from esper_telemetry.tables.columntypes import LABEL, TEXT, WELL_KNOWN, field_type, holder, map_entry

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor

_MOST_LABELS = (1 << 15) - 1
_BITS = {FieldDescriptor.TYPE_DOUBLE: pa.int64(), FieldDescriptor.TYPE_FLOAT: pa.int32()}


def converted(array: pa.Array, field: FieldDescriptor) -> pa.Array:
    """Return the column of a field from what ptars made of it.

    Args:
        array: a value for each event, with the types that ptars gives by default.
        field: its descriptor.

    Raises:
        CorruptRecordError: the values have more undeclared enum numbers than a label column can hold (32,767).
    """
    inside = holder(field)
    if is_repeated(field):
        return _collection(array, field, inside)
    if field.enum_type is not None:
        return labelled(array, field.enum_type, zero_is_unset=not field.has_presence)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _texts(array, empty_is_unset=not field.has_presence)
    return _item(array, field, inside, unset_is_null=not field.has_presence)


def conformed(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Return an array as another version of its type, which may have more fields in its structs."""
    if array.type == wanted:
        return array
    if pa.types.is_struct(wanted):
        known = {field.name: at for at, field in enumerate(array.type)}
        children = [
            conformed(array.field(known[field.name]), field.type)
            if field.name in known
            else pa.nulls(len(array), field.type)
            for field in wanted
        ]
        return pa.StructArray.from_arrays(children, fields=list(wanted), mask=array.is_null())
    if pa.types.is_map(wanted):
        items = conformed(array.items, wanted.item_type)
        return pa.MapArray.from_arrays(array.offsets, array.keys, items, type=wanted, mask=_nulls(array))
    if pa.types.is_list(wanted):
        values = conformed(array.values, wanted.value_type)
        return pa.ListArray.from_arrays(array.offsets, values, type=wanted, mask=_nulls(array))
    return array.cast(wanted)


def _nulls(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


def labelled(numbers: pa.Array, enum: EnumDescriptor, *, zero_is_unset: bool) -> pa.DictionaryArray:
    """Return enum numbers as their labels; a number without a label is shown as its digits.

    Raises:
        CorruptRecordError: there are more labels than the column can hold.
    """
    encoded = numbers.dictionary_encode()
    labels = enum_labels(enum)
    shown = pa.array(
        [
            None if number == 0 and zero_is_unset else labels.get(number, str(number))
            for number in encoded.dictionary.to_pylist()
        ],
        pa.string(),
    )
    if len(shown) > _MOST_LABELS:
        raise CorruptRecordError(f"a field holds {len(shown):,} different numbers of the enum {enum.full_name}")
    return relabelled(encoded.indices, shown).cast(LABEL)


def relabelled(indices: pa.Array, shown: pa.Array) -> pa.DictionaryArray:
    """Return a dictionary array of indices into texts that may be NULL or there twice."""
    again = shown.dictionary_encode()
    return pa.DictionaryArray.from_arrays(again.indices.take(indices), again.dictionary)


def _texts(texts: pa.Array, *, empty_is_unset: bool) -> pa.DictionaryArray:
    encoded = texts.dictionary_encode()
    if not empty_is_unset:
        return encoded.cast(TEXT)
    shown = _null_where(encoded.dictionary, pc.equal(encoded.dictionary, ""))
    return relabelled(encoded.indices, shown).cast(TEXT) if shown.null_count else encoded.cast(TEXT)


def _collection(array: pa.Array, field: FieldDescriptor, inside: tuple[str, ...]) -> pa.Array:
    wanted = field_type(field, inside)
    if is_map(field):
        key, value = map_entry(field)
        keys = _item(array.keys, key, inside, unset_is_null=False)
        items = _item(array.items, value, inside, unset_is_null=False)
        return pa.MapArray.from_arrays(array.offsets, keys, items, type=wanted)
    values = _item(array.values, field, inside, unset_is_null=False)
    return pa.ListArray.from_arrays(array.offsets, values, type=wanted)


def _item(array: pa.Array, field: FieldDescriptor, inside: tuple[str, ...], *, unset_is_null: bool) -> pa.Array:
    """Return one value for each of `array`; inside a list or a map every value is set."""
    if field.message_type is not None:
        return _message(array, field.message_type, inside)
    if field.enum_type is not None:
        return labelled(array, field.enum_type, zero_is_unset=unset_is_null).cast(pa.string())
    return null_where_default(array, field) if unset_is_null else array


def null_where_default(array: pa.Array, field: FieldDescriptor) -> pa.Array:
    """Return the values of a field without presence: its default was not measured."""
    return _null_where(array, _is_default(array, field))


def _is_default(array: pa.Array, field: FieldDescriptor) -> pa.Array:
    if field.type in _BITS:  # -0.0 is on the wire, so it was measured
        return pc.equal(array.view(_BITS[field.type]), 0)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return pc.invert(array)
    if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        return pc.equal(pc.binary_length(array), 0)
    return pc.equal(array, pa.scalar(0, array.type))  # a bare 0 is an int64, which a uint64 would be cast to


def _message(array: pa.Array, message: Descriptor, inside: tuple[str, ...]) -> pa.Array:
    if message.full_name in WELL_KNOWN or message.full_name in inside:
        return array
    if not message.fields:
        return _null_where(pc.is_valid(array), array.is_null())
    within = (*inside, message.full_name)
    children, fields = [], []
    for field in message.fields:
        child = array.field(field.name)
        value = (
            _collection(child, field, within)
            if is_repeated(field)
            else _item(child, field, within, unset_is_null=not field.has_presence)
        )
        children.append(value)
        fields.append(pa.field(field.name, value.type))
    return pa.StructArray.from_arrays(children, fields=fields, mask=array.is_null())


def _null_where(array: pa.Array, unset: pa.Array) -> pa.Array:
    return pc.if_else(unset, pa.scalar(None, array.type), array)
