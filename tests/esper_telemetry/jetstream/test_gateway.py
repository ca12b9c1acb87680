"""A gateway on a real log, with a consumer that is played here: what it publishes, when again, and what it believes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from esper_telemetry.collector.auth import EVERYBODY
from esper_telemetry.collector.frame_check import FrameCheck, Validation
from esper_telemetry.collector.intake import Intake
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.metrics import Metrics
from esper_telemetry.collector.producers import Admission
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.session import Session, claim
from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.jetstream import gateway as module
from esper_telemetry.jetstream.entries import Open, bucket_key, partition_of, unpack_entry
from esper_telemetry.jetstream.gateway import GatewayEngine
from esper_telemetry.jetstream.messages import entries_of
from esper_telemetry.jetstream.producer_state import NO_STREAM, ProducerState
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.layout import Skip
from esper_telemetry.storage.engine import ProducerProgress, PutSchema, PutSkip, SchemaTooLongError, Seal
from esper_telemetry.v1 import collector_pb2, record_pb2
from tests.esper_telemetry.collector.publisher import Produced, client_message
from tests.esper_telemetry.jetstream.test_connection import opened, until
from tests.esper_telemetry.jetstream.test_entries import key_of, put_frame

if TYPE_CHECKING:
    from esper_telemetry.storage.naming import ProducerKey

DECODER = FrameDecoder()


class Bench:
    """A gateway, and the log as a consumer sees it.

    Attributes:
        engine: the gateway.
        log: the consumer's connection.
        progress: what the gateway reported.
    """

    def __init__(self, engine, log) -> None:
        self.engine, self.log = engine, log
        self.progress: list[ProducerProgress] = []
        self._pulls = {}
        self._came = []
        self._opened = set()

    async def arrivals(self, key: ProducerKey, count: int, *, again: bool = False) -> list:
        """Return the next entries of a producer's partition, acked; an Open that comes `again` only if asked for."""
        number = partition_of(key, self.log.partitions)
        if number not in self._pulls:
            self._pulls[number] = await self.log.pull(number, 1)
        async with asyncio.timeout(60):
            while len(self._came) < count:
                messages = await self._pulls[number].take(1)
                await self._pulls[number].ack([message.reply for message in messages])
                for arrival in (unpack_entry(e, DECODER) for message in messages for e in entries_of(message.data)):
                    if again or not isinstance(arrival.content, Open) or arrival.session not in self._opened:
                        self._came.append(arrival)
                    self._opened.add(arrival.session)
        found, self._came = self._came[:count], self._came[count:]
        return found

    async def examined(self, *, problem: bool):
        """Return the gateway's health once it has a problem, or none."""
        async with asyncio.timeout(60):
            while bool((found := await self.engine.examine(0.05)).problem) != problem:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.1)
        return found

    async def say(self, state: ProducerState, *, tell: bool = True) -> None:
        """Put a state into the bucket, and tell gateways of it."""
        await self.log.put(bucket_key("state", state.key), state.to_bytes())
        if tell:
            number = partition_of(state.key, self.log.partitions)
            await self.log.send(self.log.settings.names.durable(number), state.to_bytes())

    async def open(self, key: ProducerKey, epoch: int = 1, durable_seq: int = 0):
        """Claim a lane and have its consumer take the stream; return the lane and its state."""
        lane = (await self.engine.restore(key)).lane
        self.engine.claim(lane, epoch)
        (arrival,) = await self.arrivals(key, 1)
        assert arrival.content == Open()
        state = ProducerState(key=key, session=arrival.session, durable_seq=durable_seq)
        await self.say(state)
        await until(lambda: lane.writes(epoch))
        return lane, state


@asynccontextmanager
async def bench(settings):
    engine = GatewayEngine(settings, TaskFailures(logging.getLogger("gateway")))
    async with opened(settings) as log:
        one = Bench(engine, log)
        await engine.start(lambda cycle: one.progress.extend(cycle.progress))
        try:
            yield one
        finally:
            await engine.stop(0)


@pytest.fixture
def produced():
    return Produced()


def schema_of(produced) -> PutSchema:
    header = record_pb2.Header()
    header.CopyFrom(produced.schema.header)
    header.ClearField("file_descriptor_set")
    return PutSchema(header, produced.schema.header.file_descriptor_set, produced.schema.fingerprint)


def test_what_is_put_is_published_in_order_under_the_stream_that_was_claimed(log_settings, produced):
    async def scenario():
        async with bench(log_settings) as one:
            lane, state = await one.open(key_of(produced), epoch=4)
            skip = PutSkip(Skip(26, 50, 1))
            items = [schema_of(produced), put_frame(produced, 0), skip, put_frame(produced, 2), Seal()]
            for item in items:
                one.engine.put(lane, item)
            arrivals = await one.arrivals(lane.key, len(items))
            assert [arrival.content for arrival in arrivals] == items
            assert {arrival.session for arrival in arrivals} == {state.session}
            assert state.session.epoch == 4
            assert arrivals[-1].last_seq == 75

    asyncio.run(scenario())


def test_only_a_watermark_makes_anything_durable(log_settings, produced):
    async def scenario():
        async with bench(log_settings) as one:
            lane, state = await one.open(key_of(produced))
            one.engine.put(lane, put_frame(produced, 0))
            one.engine.put(lane, put_frame(produced, 1))
            await until(lambda: one.engine._log.acked >= 1)  # JetStream has them all
            assert len(lane.waiting) == 2
            assert lane.numbers.durable_seq == 0
            await one.say(replace(state, durable_seq=25))
            await until(lambda: lane.numbers.durable_seq == 25)
            assert len(lane.waiting) == 1
            assert one.progress[-1] == ProducerProgress(lane.key, 25, len(produced.raw[0]), len(produced.raw[0]))

    asyncio.run(scenario())


def test_what_no_watermark_covers_is_published_again_with_all_that_it_needs(log_settings, produced):
    async def scenario():
        async with bench(log_settings) as one:
            lane, state = await one.open(key_of(produced))
            one.engine.put(lane, schema_of(produced))
            for number in range(3):
                one.engine.put(lane, put_frame(produced, number))
            await one.arrivals(lane.key, 4)  # taken and acked, as a log does that loses what it acked
            await one.say(replace(state, durable_seq=25))
            wanted = [Open(), schema_of(produced), put_frame(produced, 1), put_frame(produced, 2)]
            came = []
            while came[-4:] != wanted:  # on a slow machine all of it came again before
                came += [arrival.content for arrival in await one.arrivals(lane.key, 1, again=True)]
            assert one.engine.resent >= 4

    asyncio.run(scenario())


def test_a_watermark_that_was_told_to_nobody_is_found_in_the_bucket(log_settings, produced):
    async def scenario():
        async with bench(log_settings) as one:
            lane, state = await one.open(key_of(produced))
            one.engine.put(lane, put_frame(produced, 0))
            await one.say(replace(state, durable_seq=25), tell=False)
            await until(lambda: lane.numbers.durable_seq == 25)
            assert one.engine.resent == 0

    asyncio.run(scenario())


def test_an_open_that_no_consumer_answers_is_published_again(log_settings, produced):
    async def scenario():
        async with bench(log_settings) as one:
            lane = (await one.engine.restore(key_of(produced))).lane
            one.engine.claim(lane, 1)
            first, second = await one.arrivals(lane.key, 2, again=True)
            assert first == second
            assert not lane.writes(1)
            assert "esper-telemetry consume" in lane.failed

    asyncio.run(scenario())


@pytest.mark.parametrize("epoch", [3, 4], ids=["equal, but later", "higher"])
def test_a_stream_at_another_gateway_fences_this_one(log_settings, produced, epoch):
    async def scenario():
        async with bench(log_settings) as one, bench(log_settings) as other:
            lane, state = await one.open(key_of(produced), epoch=3)
            one.engine.put(lane, put_frame(produced, 0))
            await one.arrivals(lane.key, 1)
            rival = (await other.engine.restore(lane.key)).lane
            other.engine.claim(rival, epoch)
            opening = (await one.arrivals(lane.key, 1))[0]
            while opening.session == state.session:  # on a slow machine the frame comes again
                opening = (await one.arrivals(lane.key, 1))[0]
            await one.say(replace(state, session=opening.session))
            await until(lambda: lane.session == NO_STREAM)
            fenced = next(each for each in one.progress if each.fenced_by)
            assert fenced == ProducerProgress(lane.key, 0, len(produced.raw[0]), len(produced.raw[0]), fenced_by=epoch)
            assert rival.writes(epoch)

    asyncio.run(scenario())


def test_a_new_stream_and_a_stream_that_ends_take_back_what_was_on_its_way(log_settings, produced):
    async def scenario():
        async with bench(log_settings) as one:
            lane, _ = await one.open(key_of(produced))
            one.engine.put(lane, put_frame(produced, 0))
            one.engine.claim(lane, 2)
            assert one.progress[-1].payload_bytes == len(produced.raw[0])
            one.engine.put(lane, put_frame(produced, 1))
            one.engine.forget(lane)
            assert one.progress[-1].payload_bytes == len(produced.raw[1])
            assert sum(each.payload_bytes for each in one.progress) == sum(map(len, produced.raw[:2]))

    asyncio.run(scenario())


def test_what_is_learnt_of_a_stream_that_is_gone_does_not_fence_the_one_after_it(log_settings, produced, monkeypatch):
    async def scenario():
        async with bench(log_settings) as one:
            lane, _ = await one.open(key_of(produced), epoch=1)
            one.engine.put(lane, put_frame(produced, 0))
            asked, answer = asyncio.Event(), asyncio.Event()
            ask = one.engine._state

            async def slow(key):
                asked.set()
                await answer.wait()
                return await ask(key)

            monkeypatch.setattr(one.engine, "_state", slow)
            await asked.wait()  # the lane stalls, and the bucket takes its time
            one.engine.forget(lane)
            (await one.arrivals(lane.key, 1)).clear()
            fresh, _ = await one.open(lane.key, epoch=2)
            answer.set()
            await until(lambda: fresh.writes(2))
            await asyncio.sleep(0.1)
            assert not [each for each in one.progress if each.fenced_by]

    asyncio.run(scenario())


def test_a_lookup_asks_the_bucket(log_settings, produced):
    async def scenario():
        async with bench(log_settings) as one:
            assert await one.engine.lookup(key_of(produced)) == (0, 0)
            await one.open(key_of(produced), epoch=9, durable_seq=50)
            assert await one.engine.lookup(key_of(produced)) == (50, 9)

    asyncio.run(scenario())


def test_a_schema_that_does_not_compress_into_a_message_is_refused(log_settings, produced, monkeypatch):
    async def scenario():
        async with bench(log_settings) as one:
            lane, _ = await one.open(key_of(produced))
            monkeypatch.setattr(type(one.engine._log), "max_payload", 100)
            with pytest.raises(SchemaTooLongError, match=r"takes \d+,\d+ bytes compressed; the log takes 100"):
                one.engine.put(lane, schema_of(produced))

    asyncio.run(scenario())


def test_a_client_is_told_that_its_schema_is_invalid_where_the_log_cannot_take_it(log_settings, produced, monkeypatch):
    async def scenario():
        async with bench(log_settings) as one:
            limits = CollectorLimits()
            intake = Intake(one.engine, limits, Validation.OFF, Metrics())
            producer = await intake.roster.enter(key_of(produced))
            claim(producer.numbers, 1, limits.epoch_step)
            session = Session(producer.numbers, 1, b"", limits, 0.0)
            check = FrameCheck(limits, Validation.OFF, DECODER)
            admission = Admission(producer, session, EVERYBODY, collector_pb2.Welcome(), check)
            monkeypatch.setattr(type(one.engine._log), "max_payload", 100)
            with pytest.raises(Refused, match="the log takes 100: raise max_payload there") as caught:
                intake.receive(admission, client_message(produced.schema))
            assert caught.value.reason == "SCHEMA_INVALID"
            await intake.stop(0)

    asyncio.run(scenario())


def test_a_full_stream_is_told_and_what_it_refused_goes_through_when_there_is_room(log_settings, monkeypatch):
    monkeypatch.setattr(module, "_REFUSED_S", 0.5)

    async def scenario():
        async with bench(replace(log_settings, max_bytes=1 << 20)) as one:
            assert (await one.engine.examine(0.05)).problem == ""
            produced = Produced(frames=20, per_frame=10_000)
            assert sum(map(len, produced.raw)) > 1 << 20
            lane, state = await one.open(key_of(produced))
            one.engine.put(lane, schema_of(produced))
            for number in range(20):
                one.engine.put(lane, put_frame(produced, number))
            found = await one.examined(problem=True)
            assert "of it is free" in found.problem or "takes nothing" in found.problem
            await until(lambda: one.engine._log.refusals > 0)
            durable = 0
            while durable < produced.last_seq:  # the consumer is back
                (arrival,) = await one.arrivals(lane.key, 1)
                if arrival.first_seq == durable + 1:
                    durable = arrival.last_seq
                    await one.say(replace(state, durable_seq=durable))
            await until(lambda: not lane.waiting)
            assert not (await one.examined(problem=False)).problem

    asyncio.run(scenario())
