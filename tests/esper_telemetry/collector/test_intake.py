import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from esper_telemetry.collector.auth import EVERYBODY, Tenant
from esper_telemetry.collector.frame_check import Validation
from esper_telemetry.collector.intake import Intake
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.metrics import Metrics
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.storage.file_engine import FileEngine
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Produced, client_message, stored
from tests.esper_telemetry.storage.test_segment_writer import files_end_at


class Listener:
    """A stream that remembers what it was told."""

    def __init__(self) -> None:
        self.refused: Refused | None = None
        self.moved = asyncio.Event()
        self.session = None

    def stop(self, refused) -> None:
        self.refused = refused
        self.moved.set()

    def progressed(self) -> None:
        if self.session is not None:
            self.session.settled(0)
        self.moved.set()

    async def until(self, wanted) -> None:
        while not wanted():
            self.moved.clear()
            await asyncio.wait_for(self.moved.wait(), 30)


@asynccontextmanager
async def running(root, **limits):
    intake = Intake(FileEngine(root), CollectorLimits(**limits), Validation.FULL, Metrics())
    await intake.start()
    try:
        yield intake
    finally:
        await intake.stop(5)


async def connect(intake, produced, epoch=1, tenant=EVERYBODY):
    listener = Listener()
    admission = await intake.admit(produced.hello(epoch), tenant, listener)
    listener.session = admission.session
    return admission, listener


def send(intake, admission, *contents) -> float:
    return max([intake.receive(admission, client_message(content)) for content in contents])


def reason_of(caught) -> str:
    return caught.value.reason


def test_what_is_received_is_stored_and_the_listener_hears_of_it(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            admission, listener = await connect(intake, produced)
            assert admission.welcome.need_schema
            send(intake, admission, produced.schema, *produced.batches, produced.close())
            await listener.until(lambda: admission.session.done)
            assert intake.queued_bytes == 0
        assert stored(tmp_path, produced) == produced.raw

    asyncio.run(scenario())


def test_a_collector_that_starts_again_knows_what_it_has(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            admission, listener = await connect(intake, produced, epoch=5)
            send(intake, admission, produced.schema, *produced.batches[:2])
            await listener.until(lambda: admission.session.done)
        async with running(tmp_path) as intake:
            admission, listener = await connect(intake, produced, epoch=1)
            assert admission.welcome.durable_seq == 50
            send(intake, admission, produced.schema, *produced.batches)
            assert admission.session.duplicates == 2
            await listener.until(lambda: admission.session.done)
        assert stored(tmp_path, produced) == produced.raw

    asyncio.run(scenario())


def test_the_stream_with_the_higher_epoch_takes_over_and_loses_nothing(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            old, old_listener = await connect(intake, produced, 1)
            send(intake, old, produced.schema, *produced.batches[:3])
            new, listener = await connect(intake, produced, 2)
            assert new.welcome.durable_seq == 75, "the Welcome waits for what is on its way"
            assert not new.welcome.need_schema
            assert old_listener.refused.reason == "FENCED"
            with pytest.raises(Refused) as caught:
                send(intake, old, produced.batches[3])
            assert reason_of(caught) == "FENCED"
            intake.leave(old.producer, old_listener)
            assert intake.streams == 1, "the late end of the old stream changes nothing"
            send(intake, new, *produced.batches)
            await listener.until(lambda: new.session.done)
            with pytest.raises(Refused) as caught:
                await connect(intake, produced, 2)
            assert reason_of(caught) == "FENCED"
            intake.leave(new.producer, listener)
            assert intake.streams == 0
        assert stored(tmp_path, produced) == produced.raw

    asyncio.run(scenario())


def test_a_producer_belongs_to_one_run(tmp_path):
    async def scenario():
        produced = Produced()
        other = Produced(run_id="another", producer_id=produced.producer_id)
        async with running(tmp_path) as intake:
            await connect(intake, produced)
            with pytest.raises(Refused) as caught:
                await connect(intake, other)
            assert reason_of(caught) == "PRODUCER_TAKEN"

    asyncio.run(scenario())


def test_two_thousand_hellos_leave_nothing_behind(tmp_path):
    async def scenario():
        produced = Produced(frames=1)
        async with running(tmp_path) as intake:
            for number in range(2_000):
                listener = Listener()
                hello = produced.hello(producer_id=(number + 1).to_bytes(16, "big"))
                admission = await intake.admit(hello, EVERYBODY, listener)
                intake.leave(admission.producer, listener)
            assert not intake.roster.producers
            assert intake.streams == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == [".collector.index", ".collector.lock"]

    asyncio.run(scenario())


def test_streams_and_bytes_have_quotas(tmp_path):
    async def scenario():
        produced, other = Produced(), Produced(run_id="forbidden")
        header = len(produced.schema.header.SerializeToString())
        tenant = Tenant("small", run_prefix="2026", max_streams=1, max_run_bytes=header + 1)
        async with running(tmp_path) as intake:
            with pytest.raises(Refused) as caught:
                await connect(intake, other, tenant=tenant)
            assert reason_of(caught) == "FORBIDDEN"
            admission, listener = await connect(intake, produced, tenant=tenant)
            with pytest.raises(Refused) as caught:
                await connect(intake, Produced(), tenant=tenant)
            assert reason_of(caught) == "STREAMS"
            with pytest.raises(Refused) as caught:
                send(intake, admission, produced.schema, *produced.batches)
            assert reason_of(caught) == "QUOTA"
            await listener.until(lambda: admission.session.done)
            intake.leave(admission.producer, listener)
            stored_bytes = sum(path.stat().st_size for path in tmp_path.glob("*/*.esr.zst"))
            with pytest.raises(Refused) as caught:
                await connect(intake, produced, 2, replace(tenant, max_run_bytes=stored_bytes))
            assert reason_of(caught) == "QUOTA"
            await connect(intake, produced, 2, replace(tenant, max_run_bytes=stored_bytes + 1))
        assert stored(tmp_path, produced) == produced.raw[:1], "what was taken is stored"

    asyncio.run(scenario())


def test_whoever_sends_faster_than_allowed_is_told_to_wait(tmp_path):
    async def scenario():
        tenant = Tenant("slow", bytes_per_s=100)
        produced = Produced()
        async with running(tmp_path) as intake:
            admission, _ = await connect(intake, produced, tenant=tenant)
            assert send(intake, admission, produced.schema, produced.batches[0]) > 1
            assert admission.session.take_ack().throttle_ms > 1000

    asyncio.run(scenario())


def test_a_full_queue_makes_streams_wait_until_the_disk_has_caught_up(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path, queue_bytes=1) as intake:
            admission, _ = await connect(intake, produced)
            send(intake, admission, produced.schema)
            for batch in produced.batches:
                await asyncio.wait_for(intake.turn(admission, client_message(batch)), 30)
                send(intake, admission, batch)
                assert intake.queued_bytes == len(batch.payload)
        assert stored(tmp_path, produced) == produced.raw

    asyncio.run(scenario())


def test_a_disk_that_fails_stops_the_stream_and_a_new_one_brings_the_rest(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            admission, listener = await connect(intake, produced)
            send(intake, admission, produced.schema, produced.batches[0])
            await listener.until(lambda: admission.session.done)
            with files_end_at(0):
                send(intake, admission, produced.batches[1])
                await listener.until(lambda: listener.refused is not None)
            assert listener.refused.reason == "STORAGE"
            assert listener.refused.retry_after_ms
            assert intake.engine._failed, "the next look at the disk writes to it"
            intake.leave(admission.producer, listener)
            admission, listener = await connect(intake, produced, 2)
            assert admission.welcome.durable_seq == 25
            send(intake, admission, *produced.batches)
            await listener.until(lambda: admission.session.done)
        assert stored(tmp_path, produced) == produced.raw

    asyncio.run(scenario())


def test_an_unavailable_collector_lets_nobody_in(tmp_path):
    async def scenario():
        async with running(tmp_path) as intake:
            intake.unavailable = Refused("DRAINING", "stops")
            with pytest.raises(Refused, match="stops"):
                await connect(intake, Produced())
            assert not intake.roster.producers

    asyncio.run(scenario())


def test_the_watermark_of_an_unknown_producer_is_zero(tmp_path):
    async def scenario():
        async with running(tmp_path) as intake:
            request = collector_pb2.GetWatermarkRequest(run_id="run", producer_id=b"p" * 16)
            welcome = await intake.watermark(request, EVERYBODY)
            assert (welcome.durable_seq, welcome.session_epoch, welcome.need_schema) == (0, 0, True)
            assert not intake.roster.producers

    asyncio.run(scenario())


def test_an_empty_message_and_a_second_hello_are_out_of_order(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            admission, _ = await connect(intake, produced)
            for message in (collector_pb2.ClientMessage(), client_message(produced.hello(2))):
                with pytest.raises(Refused) as caught:
                    intake.receive(admission, message)
                assert reason_of(caught) == "MESSAGE_ORDER"

    asyncio.run(scenario())
