from __future__ import annotations

import inspect

import pytest

from esper_telemetry.recorder.usersinks import TeeSink
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.sinks import FileSink, MemorySink, Sink


@pytest.mark.parametrize("sink", [FileSink, MemorySink, TeeSink])
@pytest.mark.parametrize("name", ["write", "sync", "close"])
def test_every_sink_has_the_three_calls_of_the_protocol(sink, name):
    assert list(inspect.signature(getattr(sink, name)).parameters) == list(
        inspect.signature(getattr(Sink, name)).parameters
    )


@pytest.fixture(params=["file", "memory", "file and a user's"])
def sink(request, tmp_path, stream):
    if request.param == "memory":
        return MemorySink(stream.types)
    file = FileSink(tmp_path, stream.header(), stream.types)
    return file if request.param == "file" else TeeSink(file, [MemorySink()], lambda: stream.types, 5.0)


def test_a_sink_takes_batches_and_is_closed_twice_without_harm(sink, stream):
    sink.write(stream.batch())
    sink.sync()
    sink.write(stream.batch())
    sink.close()
    sink.close()
    if isinstance(sink, MemorySink):
        kept = [event.seq for event in sink.events()]
    else:
        with RecordReader(sink.paths[0]) as reader:
            kept = [event.seq for event in reader.events()]
    assert kept == list(range(1, 21))
