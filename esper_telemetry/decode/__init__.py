"""READ it back: events, filters, summaries, comparisons. Records are read here, never written.

Everything is decoded by the descriptors that a record embeds; generated code of its
events is neither needed nor used.
"""

from esper_telemetry.decode.event import Event, RowEvent
from esper_telemetry.decode.faults import FileDamage
from esper_telemetry.decode.filter import Filter
from esper_telemetry.decode.inputs import record_files
from esper_telemetry.decode.jsonlines import json_line, rfc3339
from esper_telemetry.decode.records import RecordFile, Records, read
from esper_telemetry.decode.statistics import FieldStatistics, TypeStatistics, count_events
from esper_telemetry.decode.summary import StreamSummary, Summary, summarize

__all__ = [
    "Event",
    "FieldStatistics",
    "FileDamage",
    "Filter",
    "RecordFile",
    "Records",
    "RowEvent",
    "StreamSummary",
    "Summary",
    "TypeStatistics",
    "count_events",
    "json_line",
    "read",
    "record_files",
    "rfc3339",
    "summarize",
]
