from __future__ import annotations

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.sinks import FanoutSink, FileSink, MemorySink


class RefusesOnce(MemorySink):
    """Fails the first write, the first sync and the first close."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = set()

    def _refuse(self, what):
        if what not in self.refused:
            self.refused.add(what)
            raise SinkError(f"{what} refused")

    def write(self, batch):
        self._refuse("write")
        super().write(batch)

    def sync(self):
        self._refuse("sync")
        super().sync()

    def close(self):
        self._refuse("close")
        super().close()


def test_every_sink_gets_every_batch(stream, tmp_path):
    memory, file = MemorySink(), FileSink(tmp_path, stream.header(), stream.types)
    sink = FanoutSink(memory, file)
    sink.write(stream.batch())
    sink.close()
    assert len(memory.events()) == 10
    assert memory.closed
    assert file.bytes_written == file.path.stat().st_size


def test_one_that_fails_does_not_starve_the_others_and_gets_the_batch_again(stream):
    first, second, last = MemorySink(), RefusesOnce(), MemorySink()
    sink = FanoutSink(first, second, last)
    batch = stream.batch()
    with pytest.raises(SinkError, match="write refused"):
        sink.write(batch)
    sink.write(batch)
    assert [len(one.batches) for one in (first, second, last)] == [1, 1, 1]


@pytest.mark.parametrize("call", ["sync", "close"])
def test_an_error_is_raised_after_all_were_tried(call):
    last = MemorySink()
    sink = FanoutSink(RefusesOnce(), last)
    with pytest.raises(SinkError, match=f"{call} refused"):
        getattr(sink, call)()
    assert last.syncs or last.closed
