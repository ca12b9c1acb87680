from __future__ import annotations

import pytest

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.elements import element_spans, whole_events
from esper_telemetry.v1 import record_pb2


def raw_of(records, count=20) -> tuple[bytes, list[bytes]]:
    elements = records.batch(1, count).events
    return b"".join(elements), elements


def test_the_spans_are_the_elements(records):
    raw, elements = raw_of(records, 300)
    spans = list(element_spans(raw))
    assert [raw[start:end] for start, _, end in spans] == elements
    assert [record_pb2.Event.FromString(raw[body:end]).seq for _, body, end in spans] == list(range(1, 301))


def test_every_prefix_gives_exactly_its_whole_events(records):
    raw, elements = raw_of(records)
    ends = [sum(map(len, elements[: count + 1])) for count in range(len(elements))]
    for cut in range(len(raw) + 1):
        whole = sum(end <= cut for end in ends)
        assert len(list(element_spans(raw[:cut]))) == whole
        events, used = whole_events(raw[:cut])
        assert (len(events), used) == (whole, ends[whole - 1] if whole else 0)


def test_whole_events_end_where_something_else_begins(records):
    raw, elements = raw_of(records)
    half = b"".join(elements[:10])
    for rest in (b"\x0a\x00", b"\x12\x02\xff\xff", b"\x12\xff\xff\xff\xff\xff\xff\x01", elements[3]):
        assert len(whole_events(half + rest + raw)[0]) == 10


def test_what_is_no_element_is_refused(records):
    with pytest.raises(CorruptRecordError, match="raw byte 0 of the frame starts no event: 0x0a"):
        list(element_spans(b"\x0a\x00"))
    with pytest.raises(CorruptRecordError, match="length over every limit"):
        list(element_spans(b"\x12" + b"\xff" * 9))
