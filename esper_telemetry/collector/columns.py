"""What the events of a frame say together, for half of what looking at each event costs. Pure.

Protobuf merges a singular message field that occurs many times, and merged repeated fields are
appended: parsed as `Columns`, a frame gives its types, times and numbers as three lists, made in C.
That alone could be deceived, by an event that has a number twice beside one that has none; `Strict` makes
sure that each event has each of them. What is not plain is left to facts.py, which looks at every event.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from operator import lt
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, EncodeError

from esper_telemetry.recordfile.facts import FrameFacts
from esper_telemetry.schema.batch import MAX_BATCH_BYTES
from esper_telemetry.schema.descriptors import envelope_closure

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "esper_telemetry.collector"
_HEADER, _EVENT = 1, 2  # the fields of RecordFile
_SCALARS = (("type_id", 1, _FIELD.TYPE_UINT32), ("time", 2, _FIELD.TYPE_FIXED64), ("seq", 3, _FIELD.TYPE_UINT64))


def column_facts(raw: bytes) -> FrameFacts | None:
    """Return what the events of a decompressed frame say, as `frame_facts` would; None where that has to look."""
    if len(raw) > MAX_BATCH_BYTES:
        return None
    try:
        strict = _Strict.FromString(raw)
        strict.SerializeToString()  # raises where an event has no type, no time or no number of the right wire type
        columns = _Columns.FromString(raw).event
    except (DecodeError, EncodeError):
        return None
    count = len(strict.event)
    types, times, seqs = columns.type_id[:], columns.time[:], columns.seq[:]
    # Each event has at least one of each, and there are as many as events: so each has exactly one.
    if strict.header or not count or not len(types) == len(times) == len(seqs) == count:
        return None
    counts = Counter(types)
    if counts[0] or not seqs[0] or not all(map(lt, seqs, islice(seqs, 1, None))):
        return None
    return FrameFacts(count, seqs[0], seqs[-1], min(times), max(times), dict(sorted(counts.items())))


def _declare() -> descriptor_pb2.FileDescriptorProto:
    # proto2, for its required fields.
    file = descriptor_pb2.FileDescriptorProto(name="esper_telemetry/collector/columns.proto", package=_PACKAGE)
    file.dependency.append("esper_telemetry/v1/context.proto")
    columns, strict = file.message_type.add(name="ColumnEvent"), file.message_type.add(name="StrictEvent")
    for name, number, kind in _SCALARS:
        columns.field.add(name=name, number=number, type=kind, label=_FIELD.LABEL_REPEATED)
        strict.field.add(name=name, number=number, type=kind, label=_FIELD.LABEL_REQUIRED)
    # A context that cannot be parsed must not pass; Columns passes over it.
    context = ".esper_telemetry.v1.Context"
    strict.field.add(name="context", number=4, type=_FIELD.TYPE_MESSAGE, label=_FIELD.LABEL_OPTIONAL, type_name=context)
    strict.field.add(name="payload", number=5, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_OPTIONAL)
    for name, label in (("Column", _FIELD.LABEL_OPTIONAL), ("Strict", _FIELD.LABEL_REPEATED)):
        whole = file.message_type.add(name=f"{name}s")
        whole.field.add(name="header", number=_HEADER, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_REPEATED)
        event = f".{_PACKAGE}.{name}Event"
        whole.field.add(name="event", number=_EVENT, type=_FIELD.TYPE_MESSAGE, label=label, type_name=event)
    return file


def _messages(*names: str) -> list[Any]:
    pool = descriptor_pool.DescriptorPool()  # of our own: these are no types of the schema
    for file in (*envelope_closure().file, _declare()):
        pool.Add(file)
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in names]


_Columns, _Strict = _messages("Columns", "Stricts")
