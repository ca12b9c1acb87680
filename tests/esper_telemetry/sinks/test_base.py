from __future__ import annotations

import inspect

import pytest

from esper_telemetry.sinks import FanoutSink, FileSink, MemorySink, Sink


@pytest.mark.parametrize("sink", [FileSink, MemorySink, FanoutSink])
@pytest.mark.parametrize("name", ["write", "sync", "close"])
def test_every_sink_has_the_three_calls_of_the_protocol(sink, name):
    assert list(inspect.signature(getattr(sink, name)).parameters) == list(
        inspect.signature(getattr(Sink, name)).parameters
    )


@pytest.fixture(params=["file", "memory", "fanout"])
def sink(request, tmp_path, stream):
    if request.param == "file":
        return FileSink(tmp_path, stream.header(), stream.types)
    return MemorySink(stream.types) if request.param == "memory" else FanoutSink(MemorySink(), MemorySink())


def test_a_sink_takes_batches_and_is_closed_twice_without_harm(sink, stream):
    sink.write(stream.batch())
    sink.sync()
    sink.write(stream.batch())
    sink.close()
    sink.close()
