"""A record is compacted before, while and after it is sent: every event arrives once, whatever the frames are."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

import pytest

import esper_telemetry as et
from esper_telemetry.recordfile import RecordReader, verify
from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.frame_events import parse_events
from esper_telemetry.uplink.delivery import PushOptions
from esper_telemetry.uplink.endpoint import Endpoint
from esper_telemetry.uplink.segment_frames import Frame
from esper_telemetry.uplink.sender import push
from esper_telemetry.uplink.spool import FINISHED, Spool, find_segments


def events_of(frame: Frame) -> list:
    desc = frame.descriptor
    raw = FrameDecoder().decode(bytes(frame.payload[: desc.compressed_size]), desc.raw_size)
    return list(parse_events(raw, desc))


def stored_events(paths) -> list:
    found = []
    for path in paths:
        with RecordReader(path) as reader:
            found += reader.events()
    return found


def send(folder, collector):
    """Push a folder; return the reports."""
    return push([folder], Endpoint(collector.address), PushOptions(give_up_s=20), lambda _: None)


@pytest.mark.parametrize("compacted", [False, True])
def test_a_spool_gives_what_begins_at_any_number(producer, kit, compacted):
    producer.write(frames=12, per_frame=4)
    producer.write(frames=1, per_frame=2, last_seq=producer.last_seq + 9).close()  # seven were dropped
    (path,) = producer.sink.paths
    expected = stored_events([path])
    if compacted:
        assert not compact_file(path, force=True).kept
    for first in range(1, 51):
        spool = producer.spool()
        spool.seek(first)
        items = kit.drain(spool)
        assert all(isinstance(item, Frame) for item in items)
        assert [event for item in items for event in events_of(item)] == [one for one in expected if one.seq >= first]
        assert items[0].first_seq == first
        assert items[-1].last_seq == spool.final_seq == 57
        assert spool.outcome == FINISHED


def test_numbers_that_only_dropped_events_had_are_skipped(producer, kit):
    producer.write(frames=1, per_frame=5, last_seq=20).close()
    spool = producer.spool()
    spool.seek(8)
    (item,) = kit.drain(spool)
    assert (item.first_seq, item.last_seq) == (8, 20)


def test_a_collector_that_has_a_part_is_sent_the_rest_of_a_record_that_was_compacted(collector, producer):
    producer.write(frames=30, per_frame=5)
    send(producer.folder, collector)
    producer.write(frames=30, per_frame=5).close()
    (path,) = producer.sink.paths
    expected = stored_events([path])
    assert not compact_file(path, force=True).kept
    (report,) = send(producer.folder, collector)
    assert (report.error, report.skipped) == ("", {})
    assert report.frames == 1
    collector.stop()
    segments = collector.segments(path.parent.name)
    assert stored_events(segments) == expected
    assert all(verify(one).good for one in segments)


def test_a_spool_that_reads_a_file_reads_on_in_it_when_that_is_replaced(tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=6000).write(frames=300, per_frame=3).close()
    expected = stored_events(producer.sink.paths)
    spool, found = producer.spool(), []
    rng = random.Random(5)
    paths = list(producer.sink.paths)
    while (item := spool.read()) is not None:
        found.append(item)
        if paths and not rng.randrange(4):
            compact_file(paths.pop(rng.randrange(len(paths))), force=True)
    assert [event for item in found for event in events_of(item)] == expected
    assert spool.outcome == FINISHED


def test_what_is_compacted_while_it_is_pushed_arrives_once(collector, tmp_path, kit):
    producer = kit.Producer(tmp_path, max_bytes=20_000).write(frames=600, per_frame=3).close()
    expected = stored_events(producer.sink.paths)

    async def both():
        sending = asyncio.to_thread(send, producer.folder, collector)
        return (await asyncio.gather(sending, asyncio.to_thread(compact_all)))[0]

    def compact_all():
        for path in reversed(producer.sink.paths):
            compact_file(path, force=True)
            time.sleep(0.01)

    (report,) = asyncio.run(both())
    assert (report.error, report.skipped, report.damages) == ("", {}, [])
    collector.stop()
    assert stored_events(collector.segments(producer.folder.name)) == expected


def test_the_agent_makes_files_smaller_once_they_are_durable(collector, tmp_path):
    with et.start_run(tmp_path / "runs", name="sent", collector=collector.address) as run:
        for number in range(100):
            run.emit(et.events.ScalarLogged, name="n", value=float(number), step=number)
            run.flush()
    (path,) = run.folder.glob("*.esr.zst")
    deadline = time.monotonic() + 60
    frames = 100
    while frames > 1:
        assert time.monotonic() < deadline, (run.folder / "agent.log").read_text()
        time.sleep(0.05)
        with contextlib.suppress(OSError), RecordReader(path) as reader:
            frames = len(list(reader.frames()))
    collector.stop()
    assert stored_events(collector.segments(run.folder.name)) == stored_events([path])
    assert [event.seq for event in et.read(run.folder)] == list(range(1, 103))
    spool = Spool(find_segments(path), follow=False)
    assert spool.read().last_seq == 102
