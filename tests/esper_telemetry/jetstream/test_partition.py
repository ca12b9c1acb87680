"""A consumer in this process and a log that is written by hand: odd orders, lost schemas, a disk that fails."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from esper_telemetry.jetstream import partition as module
from esper_telemetry.jetstream.consumer import Consumer
from esper_telemetry.jetstream.deployment import ConsumerSettings
from esper_telemetry.jetstream.entries import (
    SessionId,
    bucket_key,
    entry_for,
    frame_entry,
    packed_schema,
    packed_skip,
    partition_of,
    unpack_schema,
)
from esper_telemetry.jetstream.messages import Packer
from esper_telemetry.jetstream.producer_state import ProducerState
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.frame import FrameDecoder, FrameEncoder
from esper_telemetry.recordfile.layout import Skip
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.source import FileSource
from esper_telemetry.recordfile.walk import walk
from esper_telemetry.storage.engine import PutSkip
from esper_telemetry.v1 import log_pb2
from tests.esper_telemetry.collector.publisher import Produced, stored
from tests.esper_telemetry.jetstream.test_connection import opened, until
from tests.esper_telemetry.jetstream.test_entries import key_of, put_frame
from tests.esper_telemetry.jetstream.test_gateway import schema_of
from tests.esper_telemetry.storage.test_segment_writer import files_end_at

if TYPE_CHECKING:
    from esper_telemetry.jetstream.connection import JetStream

FIRST, SECOND = SessionId(1, 11), SessionId(2, 22)


def packed(subject: str, *entries: bytes) -> list[tuple[str, bytes]]:
    packer = Packer()
    for entry in entries:
        packer.add(subject, entry)
    return packer.take()


class Gateway:
    """Publishes entries of one producer by hand."""

    def __init__(self, log: JetStream, produced: Produced) -> None:
        self.log, self.produced, self.key = log, produced, key_of(produced)

    async def say(self, session: SessionId = FIRST, **content) -> None:
        """Publish an entry: open, schema, frame=NUMBER, skip=(FIRST, LAST) or seal=NUMBER."""
        entry = entry_for(self.key, session)
        if "schema" in content:
            entry.schema.CopyFrom(packed_schema(schema_of(self.produced), FrameEncoder(3)))
        elif "frame" in content:
            put = put_frame(self.produced, content["frame"])
            await self.publish(frame_entry(self.key, session, put, self.produced.schema.fingerprint))
            return
        elif "skip" in content:
            entry.skip.CopyFrom(packed_skip(PutSkip(Skip(*content["skip"], 1))))
        elif "seal" in content:
            entry.seal.CopyFrom(log_pb2.LogSeal(final_seq=content["seal"]))
        else:
            entry.open.SetInParent()
        await self.publish(entry.SerializeToString())

    async def publish(self, *entries: bytes) -> None:
        """Publish entries, in one message."""
        for subject, message in packed(
            self.log.settings.names.partition(partition_of(self.key, self.log.partitions)), *entries
        ):
            await self.log.publish(subject, message)

    async def state(self) -> ProducerState:
        entry = await self.log.get(bucket_key("state", self.key))
        return ProducerState.from_bytes(entry.value) if entry else ProducerState(key=self.key)

    async def told(self, durable_seq: int, session: SessionId = FIRST) -> ProducerState:
        """Return the state once the bucket has a watermark of a stream."""
        async with asyncio.timeout(60):
            found = await self.state()
            while found.durable_seq < durable_seq or found.session != session:
                await asyncio.sleep(0.02)
                found = await self.state()
        return found

    async def emptied(self) -> None:
        """Wait until every message is acked."""
        async with asyncio.timeout(60):
            while (await self.log.fill()).messages:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.05)


@asynccontextmanager
async def consuming(settings, folder, produced):
    consumer = Consumer(ConsumerSettings(log=settings, directory=folder, min_free=0.0))
    async with opened(settings) as log:
        await consumer.start()
        try:
            yield consumer, Gateway(log, produced)
        finally:
            await consumer.stop()


@pytest.fixture
def produced():
    return Produced()


def test_any_order_and_any_repetition_is_stored_once_and_every_message_is_acked(log_settings, tmp_path, produced):
    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (_, gateway):
            await gateway.say(open=True)
            for number in (3, 1, 1):
                await gateway.say(frame=number)
            await gateway.say(schema=True)
            await gateway.say(frame=0)
            await gateway.say(frame=2)
            await gateway.say(frame=0)
            await gateway.say(seal=100)
            state = await gateway.told(100)
            assert state.consumer
            assert state.segment == 1
            await gateway.emptied()

    asyncio.run(scenario())
    assert stored(tmp_path, produced) == produced.raw


def test_a_damaged_entry_among_whole_ones_costs_that_entry_alone(log_settings, tmp_path, produced):
    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (consumer, gateway):
            await gateway.say(open=True)
            await gateway.say(schema=True)
            first, second, third = (
                frame_entry(gateway.key, FIRST, put_frame(produced, number), produced.schema.fingerprint)
                for number in range(3)
            )
            await gateway.publish(first, second[:-1] + bytes([second[-1] ^ 1]), third)
            await gateway.told(25)
            await gateway.publish(second)  # as its gateway does
            await gateway.told(75)
            await gateway.emptied()
            assert 'useless_total{reason="damaged"} 1.0' in consumer.metrics.render("")[0].decode()

    asyncio.run(scenario())
    assert stored(tmp_path, produced) == produced.raw[:3]


def test_a_schema_stands_in_the_bucket_for_whoever_takes_over(log_settings, tmp_path, produced):
    async def scenario():
        async with consuming(log_settings, tmp_path / "first", produced) as (_, gateway):
            await gateway.say(open=True)
            await gateway.say(schema=True)
            await gateway.say(frame=0)
            await gateway.told(25)
            entry = await gateway.log.get(bucket_key("schema", gateway.key))
            assert unpack_schema(entry.value, FrameDecoder()) == schema_of(produced)
        async with consuming(log_settings, tmp_path / "second", produced) as (_, gateway):
            await gateway.say(frame=1)
            state = await gateway.told(50)
            assert state.segment == 2
            assert list(state.handed_over.values()) == [25]

    (tmp_path / "first").parent.mkdir(exist_ok=True)
    asyncio.run(scenario())
    assert stored(tmp_path / "first", produced) == produced.raw[:1]
    assert stored(tmp_path / "second", produced) == produced.raw[1:2]
    (path,) = (tmp_path / "second").glob("*/*.esr.zst")
    with RecordReader(path) as reader:
        assert reader.header.previous_last_seq == 25, "the new consumer's file begins behind the watermark"


def test_a_producer_that_is_done_leaves_no_schema_and_may_come_again_all_the_same(log_settings, tmp_path, produced):
    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (_, gateway):
            key = bucket_key("schema", gateway.key)
            for session, frames in ((FIRST, (0, 1)), (SECOND, (2, 3))):
                await gateway.say(session, open=True)
                await gateway.say(session, schema=True)
                for number in frames:
                    await gateway.say(session, frame=number)
                await gateway.say(session, seal=25 * (frames[-1] + 1))
                await gateway.told(25 * (frames[-1] + 1), session)
                async with asyncio.timeout(60):
                    while (await gateway.log.get(key)).value:  # noqa: ASYNC110 - the bucket is asked, as anybody would
                        await asyncio.sleep(0.02)
            await gateway.emptied()

    asyncio.run(scenario())
    assert stored(tmp_path, produced) == produced.raw
    assert len(list(tmp_path.glob("*/*.esr.zst"))) == 2, "each was sealed"


def test_a_new_stream_is_told_only_when_nothing_of_the_old_one_is_on_its_way(log_settings, tmp_path, produced):
    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (_, gateway):
            await gateway.say(open=True)
            await gateway.say(schema=True)
            for number in range(3):
                await gateway.say(frame=number)
            await gateway.say(SECOND, open=True)
            await gateway.say(frame=3)  # of the stream that is fenced now
            state = await gateway.told(0, SECOND)
            assert state.durable_seq == 75
            await gateway.emptied()
            assert (await gateway.state()).durable_seq == 75
            await gateway.say(SECOND, frame=3)
            await gateway.told(100, SECOND)

    asyncio.run(scenario())
    assert stored(tmp_path, produced) == produced.raw


def test_a_skip_is_stored_with_its_reason(log_settings, tmp_path, produced):
    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (_, gateway):
            await gateway.say(open=True)
            await gateway.say(schema=True)
            await gateway.say(skip=(1, 25))
            await gateway.say(frame=1)
            await gateway.told(50)

    asyncio.run(scenario())
    (path,) = tmp_path.glob("*/*.esr.zst")
    assert [piece.skip for piece in walk(FileSource(path)) if piece.kind is Kind.SKIP] == [Skip(1, 25, 1)]
    assert stored(tmp_path, produced) == produced.raw[1:2]


def test_messages_that_are_no_entries_are_counted_and_do_no_harm(log_settings, tmp_path, produced):
    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (consumer, gateway):
            await gateway.publish(b"\xff\xff\xff")
            await gateway.publish(b"")
            await gateway.say(open=True)
            await gateway.say(schema=True)
            await gateway.say(frame=0)
            await gateway.told(25)
            await gateway.emptied()
            assert b'esper_consumer_useless_total{reason="damaged"} 2.0' in consumer.metrics.render("")[0]

    asyncio.run(scenario())


def test_a_disk_that_fails_loses_nothing(log_settings, tmp_path, produced):
    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (consumer, gateway):
            await gateway.say(open=True)
            await gateway.say(schema=True)
            await gateway.say(frame=0)
            await gateway.told(25)
            with files_end_at(0):
                await gateway.say(frame=1)
                await until(lambda: consumer._disk_failed)
            assert (await gateway.state()).durable_seq == 25
            for _ in range(3):  # as a gateway does that sees no watermark
                await asyncio.sleep(1)
                for number in range(1, 4):
                    await gateway.say(frame=number)
            await gateway.told(100)

    asyncio.run(scenario())
    assert stored(tmp_path, produced) == produced.raw


def test_what_waits_in_vain_is_let_go(log_settings, tmp_path, produced, monkeypatch):
    monkeypatch.setattr(module, "_HELD_S", 0.5)

    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (_, gateway):
            await gateway.say(open=True)
            await gateway.say(schema=True)
            await gateway.say(frame=2)  # its gateway is gone: what is missing will not come
            await gateway.emptied()

    asyncio.run(scenario())


def test_a_consumer_whose_files_are_ahead_of_the_bucket_says_so_at_its_start(log_settings, tmp_path, produced):
    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (_, gateway):
            await gateway.say(open=True)
            await gateway.say(schema=True)
            for number in range(4):
                await gateway.say(frame=number)
            told = await gateway.told(100)
            await gateway.emptied()
        async with opened(log_settings) as log:  # as after a kill between syncing and telling
            await log.put(bucket_key("state", told.key), replace(told, durable_seq=50).to_bytes())
        async with consuming(log_settings, tmp_path, produced) as (_, gateway):
            assert (await gateway.state()).durable_seq == 100

    asyncio.run(scenario())
    assert stored(tmp_path, produced) == produced.raw


def test_a_partition_that_an_error_ends_is_counted_shown_and_taken_again(log_settings, tmp_path, produced):
    """The bucket holds something else under a producer's name, until that is corrected by hand."""

    async def scenario():
        async with consuming(log_settings, tmp_path, produced) as (consumer, gateway):
            key = bucket_key("state", gateway.key)
            name = f"partition-{partition_of(gateway.key, gateway.log.partitions)}"
            await gateway.log.put(key, b"no state of a producer")
            await gateway.say(open=True)
            await gateway.say(schema=True)
            await gateway.say(frame=0)
            await until(lambda: name in consumer.failures.failing())
            failed = consumer.metrics.registry.get_sample_value
            assert failed("esper_consumer_task_failures_total", {"task": name}) >= 1
            await gateway.log.put(key, ProducerState(key=gateway.key).to_bytes())
            await gateway.told(25)
            await until(lambda: not consumer.failures.failing())

    asyncio.run(scenario())
    assert stored(tmp_path, produced) == produced.raw[:1]
