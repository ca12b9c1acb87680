"""The numbers in a batch: of logged scalars by their own names, of typed events by type and field.

Keys are no measurements and are left out, and so are texts, lists, nested messages and blocks of steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.recordfile.frame_events import parse_events
from esper_telemetry.schema import is_map, is_repeated
from esper_telemetry.v1 import logged_pb2, options_pb2, training_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from esper_telemetry.schema import Batch, EventType
    from esper_telemetry.v1 import context_pb2

    Found = Iterator[tuple[str, float]]
    Finder = Callable[[Any], Found]

_META: Any = options_pb2.meta
_NUMBERS = frozenset(
    {
        FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_SINT32,
        FieldDescriptor.TYPE_SINT64, FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED32, FieldDescriptor.TYPE_SFIXED64,
    }
)  # fmt: skip
_STEPS = ("step", "batch_idx", "global_epoch")


class ScalarReader:
    """Reads the scalars of batches of one stream, in order: a batch declares the types that it uses first."""

    def __init__(self) -> None:
        self._types: dict[int, tuple[type[Message], Finder]] = {}

    def read(self, batch: Batch) -> Iterator[tuple[str, float, int, int]]:
        """Yield name, value, step and time (nanoseconds since 1970 UTC) of each scalar."""
        for number, event_type in batch.new_types:
            finder = _finder(event_type)
            if finder is not None:
                self._types[number] = event_type.cls, finder
        known = self._types
        if known.keys().isdisjoint(batch.type_counts):
            return
        for event in parse_events(batch.raw):
            if event.type_id not in known:
                continue
            cls, finder = known[event.type_id]
            payload = cls.FromString(event.payload)
            context = event.context
            suffix = f"/env_{context.env_id}" if context.HasField("env_id") else ""
            step = _step(payload, context, event.seq)
            for name, value in finder(payload):
                yield f"{name}{suffix}", float(value), step, event.time_unix_nano


def _step(payload: Any, context: context_pb2.Context, seq: int) -> int:
    if "step" in payload.DESCRIPTOR.fields_by_name and payload.HasField("step"):
        return int(payload.step)
    return next((int(getattr(context, name)) for name in _STEPS if context.HasField(name)), seq)


def _finder(event_type: EventType) -> Finder | None:
    """Return what finds the numbers of a type; None where it has none."""
    if event_type.cls is training_pb2.ScalarLogged:
        return lambda payload: iter([(payload.name, payload.value)] if payload.HasField("value") else [])
    if event_type.cls is logged_pb2.ScalarsLogged:
        return lambda payload: iter(sorted(payload.scalars.items()))  # a map has no order
    fields = {
        field.name: is_map(field)
        for field in cast("list[FieldDescriptor]", event_type.cls.DESCRIPTOR.fields)
        if _is_measured(field)
    }
    if not fields or event_type.name.startswith(("run.", "telemetry.", "stream.", "steps.")):
        return None
    prefix = event_type.name

    def found(payload: Message) -> Found:
        for field, value in payload.ListFields():
            if field.name not in fields:
                continue
            if fields[field.name]:
                yield from ((f"{prefix}/{field.name}/{key}", value[key]) for key in sorted(value))
            else:
                yield f"{prefix}/{field.name}", value

    return found


def _is_measured(field: FieldDescriptor) -> bool:
    if field.GetOptions().Extensions[_META].kind == options_pb2.KIND_KEY:
        return False
    if is_map(field) and field.message_type is not None:
        return field.message_type.fields_by_name["value"].type in _NUMBERS
    return field.type in _NUMBERS and not is_repeated(field)
