"""What the schema states of one event class: its name, level, shedding and required context.

The policy of the SDK is read from the descriptors of the class, for built-in events
and those of other packages alike. Nothing is registered, and no list of events exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import Descriptor

from esper_telemetry.errors import SchemaError
from esper_telemetry.v1 import context_pb2, options_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

_EVENT: Any = options_pb2.event  # protoc types an extension as a bare FieldDescriptor
_CONTEXT_FIELDS = context_pb2.Context.DESCRIPTOR.fields_by_number


@dataclass(frozen=True, slots=True)
class EventType:
    """An event class and its policy.

    Attributes:
        cls: the generated message class.
        full_name: name of the message, e.g. "esper.v1.SeedCulled".
        name: short name, e.g. "seed.culled".
        level: number of the Level at which it is recorded.
        shedding: number of its Shedding class.
        requires: context fields without which it cannot be emitted.
        urgent: it is written within 50 ms.
    """

    cls: type[Message]
    full_name: str
    name: str
    level: int
    shedding: int
    requires: frozenset[str]
    urgent: bool


_known: dict[type[Message], EventType] = {}


def event_type(cls: type[Message]) -> EventType:
    """Return what the schema states of `cls`.

    Raises:
        SchemaError: `cls` is no protobuf message class, or not marked as an event.
    """
    if isinstance(cls, type) and cls in _known:
        return _known[cls]
    descriptor = getattr(cls, "DESCRIPTOR", None)
    if not isinstance(cls, type) or not isinstance(descriptor, Descriptor):
        raise SchemaError(
            f"{cls!r} is no event class; pass a generated protobuf message class such as events.ScalarLogged"
        )
    options = descriptor.GetOptions()
    if not options.HasExtension(_EVENT):
        raise SchemaError(
            f"{descriptor.full_name} is no event: add `option (esper_telemetry.v1.event) = {{name: ...}}` to it"
            f" in {descriptor.file.name}"
        )
    meta: options_pb2.EventMeta = options.Extensions[_EVENT]
    _known[cls] = EventType(
        cls=cls,
        full_name=descriptor.full_name,
        name=meta.name or descriptor.full_name,
        level=meta.level or options_pb2.LEVEL_NORMAL,
        shedding=meta.shedding or options_pb2.SHEDDING_LATER,
        requires=frozenset(_CONTEXT_FIELDS[key].name for key in meta.requires if key in _CONTEXT_FIELDS),
        urgent=meta.urgent,
    )
    return _known[cls]
