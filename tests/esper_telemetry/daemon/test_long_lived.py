"""What lives long is set aside, and what it leaves in cycles is freed once enough streams have ended."""

import gc
import sys
import weakref

import pytest

from esper_telemetry.daemon.long_lived import LongLived


class Stream:
    """Refers to itself, as a stream and its tasks do."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def usual_gc():
    yield
    gc.unfreeze()


def test_streams_that_were_opened_are_set_aside_and_no_full_collection_looks_at_them():
    long_lived, streams = LongLived(), [Stream() for _ in range(300)]
    before = gc.get_freeze_count()
    long_lived.look(opened=300, ended=0, now=1.0)
    assert gc.get_freeze_count() - before > 300
    assert not any(each is streams[0] for each in gc.get_objects())


def test_little_is_set_aside_only_now_and_then():
    long_lived = LongLived()
    long_lived.look(opened=300, ended=0, now=1.0)
    before = gc.get_freeze_count()
    kept = [Stream() for _ in range(100)]
    long_lived.look(opened=400, ended=0, now=2.0)
    assert gc.get_freeze_count() <= before
    long_lived.look(opened=400, ended=0, now=100.0)
    assert gc.get_freeze_count() > before + 100
    assert len(kept) == 100


def test_what_ended_streams_left_in_cycles_is_freed_once_as_many_have_ended_as_are_open():
    long_lived, streams = LongLived(), [Stream() for _ in range(1200)]
    left = weakref.ref(streams[0])
    long_lived.look(opened=3000, ended=0, now=1.0)
    streams.clear()
    long_lived.look(opened=3000, ended=1200, now=2.0)
    assert left() is not None, "1,800 are open: they are not looked at for the sake of 1,200"
    assert long_lived.collections == 0
    long_lived.look(opened=3000, ended=1600, now=3.0)
    assert left() is None
    assert long_lived.collections == 1


def test_garbage_of_now_is_not_set_aside():
    long_lived = LongLived()
    stream = Stream()
    left = weakref.ref(stream)
    del stream
    long_lived.look(opened=300, ended=0, now=1.0)
    assert left() is None


def test_what_calls_left_that_are_no_streams_is_freed_once_it_is_too_much(monkeypatch):
    long_lived = LongLived()
    long_lived.look(opened=0, ended=0, now=100.0)
    monkeypatch.setattr("esper_telemetry.daemon.long_lived._PROGRAM", sys.getallocatedblocks() + 10_000)
    long_lived = LongLived()
    for turn in range(2, 12):
        streams = [Stream() for _ in range(1000)]
        left = weakref.ref(streams[0])
        long_lived.look(opened=0, ended=0, now=turn * 100.0)
        assert left() is not None
        del streams
        if long_lived.collections:
            break
    assert long_lived.collections == 1
    assert turn < 11
