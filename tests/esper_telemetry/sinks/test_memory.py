from __future__ import annotations

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.sinks import MemorySink


def test_what_was_written_is_kept_in_order(stream):
    sink = MemorySink(stream.types)
    sink.write(stream.batch(3))
    sink.write(stream.batch(2, new_types=[stream.later]))
    sink.sync()
    assert [event.seq for event in sink.events()] == [1, 2, 3, 4, 5]
    assert {number: kind.full_name for number, kind in sink.types.items()} == {
        1: "esper_telemetry.v1.ScalarLogged",
        2: "esper_telemetry.v1.RunFinished",
    }
    assert sink.syncs == 1
    assert [batch.records for batch in sink.batches] == [3, 2]


def test_a_closed_sink_refuses(stream):
    sink = MemorySink()
    sink.close()
    assert sink.closed
    with pytest.raises(SinkError, match="closed"):
        sink.write(stream.batch())
