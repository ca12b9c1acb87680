"""Messages as plain dicts, fast: the rule of `schema.to_plain`, prepared once for each message type.

`to_plain` asks the descriptors again for every message; a plan asks them once (measured: 0.9 us
instead of 3 us for an event of six numbers). A test compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.schema import enum_labels, is_map, is_repeated

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    Convert = Callable[[Any], Any]


class PlainPlans:
    """Plans for the messages of one descriptor pool, made when first asked for."""

    def __init__(self) -> None:
        self._plans: dict[str, PlainPlan] = {}

    def plan(self, descriptor: Descriptor) -> PlainPlan:
        """Return the plan for messages of `descriptor`."""
        plan = self._plans.get(descriptor.full_name)
        if plan is None:
            plan = self._plans[descriptor.full_name] = PlainPlan(descriptor, self)
        return plan


class PlainPlan:
    """Turns messages of one type into dicts of their set fields."""

    __slots__ = ("_fields", "_only_scalars")

    def __init__(self, descriptor: Descriptor, plans: PlainPlans) -> None:
        self._fields = _FieldConversions(plans)
        self._only_scalars = not descriptor.is_extendable and all(
            field.message_type is None and field.enum_type is None and not is_repeated(field)
            for field in descriptor.fields
        )

    def __call__(self, message: Message) -> dict[str, Any]:
        """Return the set fields of `message`, as `schema.to_plain` does."""
        fields = self._fields
        if self._only_scalars:
            return {fields[field][0]: value for field, value in message.ListFields()}
        plain = {}
        for field, value in message.ListFields():
            name, convert = fields[field]
            plain[name] = value if convert is None else convert(value)
        return plain


class _FieldConversions(dict[FieldDescriptor, "tuple[str, Convert | None]"]):
    """Name and conversion by field, learned as fields occur: a type that holds itself needs no special care."""

    def __init__(self, plans: PlainPlans) -> None:
        super().__init__()
        self._plans = plans

    def __missing__(self, field: FieldDescriptor) -> tuple[str, Convert | None]:
        self[field] = entry = (field.name, _field_conversion(field, self._plans))
        return entry


def _field_conversion(field: FieldDescriptor, plans: PlainPlans) -> Convert | None:
    """Return what makes the value of `field` plain; None where it is already."""
    if is_map(field) and field.message_type is not None:
        return _map_conversion(_item_conversion(field.message_type.fields_by_name["value"], plans))
    item = _item_conversion(field, plans)
    return _list_conversion(item) if is_repeated(field) else item


def _map_conversion(item: Convert | None) -> Convert:
    if item is None:
        return lambda entries: {key: entries[key] for key in sorted(entries)}
    return lambda entries: {key: item(entries[key]) for key in sorted(entries)}


def _list_conversion(item: Convert | None) -> Convert:
    return list if item is None else lambda values: [item(value) for value in values]


def _item_conversion(field: FieldDescriptor, plans: PlainPlans) -> Convert | None:
    if field.message_type is not None:
        return plans.plan(field.message_type)
    if field.enum_type is not None:
        labels = enum_labels(field.enum_type)
        return lambda number: labels.get(number, number)
    return None
