"""The schema: event classes, their policy, their bytes and their plain form.

Everything here derives from the descriptors of the generated classes. It knows no
file, no thread and no device.
"""

from esper_telemetry.schema.batch import MAX_BATCH_BYTES, MAX_EVENT_BYTES, Batch
from esper_telemetry.schema.context import CONTEXT_FIELDS, encode_context
from esper_telemetry.schema.descriptors import (
    SchemaPool,
    base_pool,
    context_closure,
    event_classes,
    file_closure,
    proto_include,
)
from esper_telemetry.schema.envelope import frame_event, varint
from esper_telemetry.schema.event_type import EventType, event_type
from esper_telemetry.schema.fields import plain_fields
from esper_telemetry.schema.levels import LEVELS, effective_level, level_number
from esper_telemetry.schema.plain import enum_labels, is_map, is_repeated, json_ready, merged, to_plain

__all__ = [
    "CONTEXT_FIELDS",
    "LEVELS",
    "MAX_BATCH_BYTES",
    "MAX_EVENT_BYTES",
    "Batch",
    "EventType",
    "SchemaPool",
    "base_pool",
    "context_closure",
    "effective_level",
    "encode_context",
    "enum_labels",
    "event_classes",
    "event_type",
    "file_closure",
    "frame_event",
    "is_map",
    "is_repeated",
    "json_ready",
    "level_number",
    "merged",
    "plain_fields",
    "proto_include",
    "to_plain",
    "varint",
]
