"""READ it back: events, filters, summaries, comparisons. Records are read here, never written.

Everything is decoded by the descriptors that a record embeds; generated code of its
events is neither needed nor used.
"""

from esper_telemetry.decode.blockrows import BlockEvent
from esper_telemetry.decode.comparison import Comparison, FieldPair, Pair, Parting, compare, partings
from esper_telemetry.decode.declared import DeclaredTypes, declared_types
from esper_telemetry.decode.event import Event, RowEvent
from esper_telemetry.decode.event_filter import Filter
from esper_telemetry.decode.faults import FileDamage
from esper_telemetry.decode.inputs import RecordFiles, record_files
from esper_telemetry.decode.jsonlines import StreamKeys, json_line, rfc3339, stream_keys
from esper_telemetry.decode.overview import RunConfiguration, StreamSummary, Summary, run_configuration, summarize
from esper_telemetry.decode.ranges import OutOfRange, RangeCheck
from esper_telemetry.decode.records import Records, read
from esper_telemetry.decode.reference import (
    EnumReference,
    EventReference,
    FieldReference,
    MessageReference,
    Reference,
    record_reference,
)
from esper_telemetry.decode.statistics import FieldStatistics, TypeStatistics, count_envelopes, count_events
from esper_telemetry.decode.streams import SegmentPlace
from esper_telemetry.decode.survey import Survey, survey
from esper_telemetry.decode.tailing import Tail
from esper_telemetry.decode.types import Origin

__all__ = [
    "BlockEvent",
    "Comparison",
    "DeclaredTypes",
    "EnumReference",
    "Event",
    "EventReference",
    "FieldPair",
    "FieldReference",
    "FieldStatistics",
    "FileDamage",
    "Filter",
    "MessageReference",
    "Origin",
    "OutOfRange",
    "Pair",
    "Parting",
    "RangeCheck",
    "RecordFiles",
    "Records",
    "Reference",
    "RowEvent",
    "RunConfiguration",
    "SegmentPlace",
    "StreamKeys",
    "StreamSummary",
    "Summary",
    "Survey",
    "Tail",
    "TypeStatistics",
    "compare",
    "count_envelopes",
    "count_events",
    "declared_types",
    "json_line",
    "partings",
    "read",
    "record_files",
    "record_reference",
    "rfc3339",
    "run_configuration",
    "stream_keys",
    "summarize",
    "survey",
]
