"""A message as plain Python values: the rule behind `.data`, JSON lines and every table.

What is unset is absent: never a zero that was not measured. An enum value is shown as
its `label` option, or as its name less the prefix of its enum.
"""

from __future__ import annotations

import base64
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.message import Message

_LABEL: Any = options_pb2.label  # protoc types an extension as a bare FieldDescriptor
# Types of fields as a .proto file has them.
SCALAR_NAMES = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def to_plain(message: Message) -> dict[str, Any]:
    """Return the set fields of `message`: nested messages and maps as dicts, enums by their shown names."""
    return {field.name: _plain_field(field, value) for field, value in message.ListFields()}


def _plain_field(field: FieldDescriptor, value: Any) -> Any:
    if is_map(field) and field.message_type is not None:
        item = field.message_type.fields_by_name["value"]
        return {key: _plain_item(item, value[key]) for key in sorted(value)}  # else each process has its own order
    if is_repeated(field):
        return [_plain_item(field, item) for item in value]
    return _plain_item(field, value)


def _plain_item(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return to_plain(value)
    if field.enum_type is not None:
        return enum_labels(field.enum_type).get(value, value)
    return value


def is_repeated(field: FieldDescriptor) -> bool:
    """Tell whether `field` is a list or a map; protobuf 6.30 knows no `is_repeated`, and 7 no `label`."""
    try:
        return field.is_repeated
    except AttributeError:
        return bool(field.label == field.LABEL_REPEATED)  # type: ignore[attr-defined]


def is_map(field: FieldDescriptor) -> bool:
    """Tell whether `field` is a map."""
    entry = field.message_type
    return bool(entry is not None and entry.has_options and entry.GetOptions().map_entry)


@lru_cache(maxsize=1024)  # bounded: each record read brings descriptors of its own
def enum_labels(enum: EnumDescriptor) -> dict[int, str]:
    """Return number → shown name for `enum`."""
    prefix = _WORD_START.sub("_", enum.name).upper() + "_"
    labels = {}
    for value in reversed(enum.values):  # of aliases, the first one declared is shown
        label = value.GetOptions().Extensions[_LABEL] if value.has_options else ""
        labels[value.number] = label or value.name.removeprefix(prefix)
    return labels


@lru_cache(maxsize=1024)
def enum_numbers(enum: EnumDescriptor) -> dict[str, int]:
    """Return every way to write a value of `enum` → its number: the shown names first, then those of the schema."""
    shown = {label: number for number, label in sorted(enum_labels(enum).items())}
    return {**shown, **{value.name: value.number for value in enum.values if value.name not in shown}}


def json_ready(value: Any) -> Any:
    """Return a plain value as JSON can hold it: bytes as base64, NaN and infinities as strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {_json_key(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_ready(item) for item in value]
    return value


def _json_key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with `above` put over it: objects name by name, and any other value in place of the one before."""
    found = dict(below)
    for name, value in above.items():
        known = found.get(name)
        found[name] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return found
