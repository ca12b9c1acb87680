"""Producers in memory: restored once, forgotten when sealed and alone, their bytes counted by run."""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc

import pytest

from esper_telemetry.collector import producers
from esper_telemetry.collector.auth import EVERYBODY, Tenant
from esper_telemetry.collector.producers import restore
from esper_telemetry.collector.queries import delete_run
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.recordfile.verification import verify
from esper_telemetry.storage.naming import ProducerKey
from tests.esper_telemetry.collector.publisher import Produced, stored
from tests.esper_telemetry.collector.test_intake import Listener, connect, running, send
from tests.esper_telemetry.storage.test_segment_writer import files_end_at


def key_of(produced) -> ProducerKey:
    return ProducerKey(produced.run_id, produced.producer_id)


async def fill(intake, produced, epoch=1, frames=None, tenant=EVERYBODY):
    """Send a producer's frames in one stream, to its end."""
    admission, listener = await connect(intake, produced, epoch, tenant)
    send(intake, admission, produced.schema, *(produced.batches if frames is None else frames))
    await listener.until(lambda: admission.session.done)
    intake.leave(admission.producer, listener)
    return admission


async def until(condition) -> None:
    """Wait for what another thread or task brings about."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the product sets no event for tests
            await asyncio.sleep(0.01)


async def seal_and_forget(intake) -> None:
    """Let the minutes pass after which nobody is in memory."""
    later = asyncio.get_running_loop().time() + 1000
    while intake.roster.producers:
        intake.seal_idle(later)
        await asyncio.sleep(0.01)


def test_a_producer_that_is_sealed_and_alone_is_forgotten_and_comes_back_as_it_was(tmp_path):
    async def scenario():
        produced = Produced(frames=4)
        async with running(tmp_path) as intake:
            await fill(intake, produced, frames=produced.batches[:2])
            before = intake.roster.run_bytes(produced.run_id)
            await seal_and_forget(intake)
            assert intake.roster.run_bytes(produced.run_id) == 0
            admission, listener = await connect(intake, produced, epoch=1)
            assert admission.welcome.durable_seq == 50
            assert intake.roster.run_bytes(produced.run_id) >= before
            send(intake, admission, produced.schema, *produced.batches[2:])
            await listener.until(lambda: admission.session.done)
        assert stored(tmp_path, produced) == produced.raw

    asyncio.run(scenario())


def test_a_run_is_weighed_for_its_first_producer_in_memory_and_forgotten_with_its_last(tmp_path):
    async def scenario():
        one, other = Produced(frames=2), Produced(frames=2)
        async with running(tmp_path) as intake:
            await fill(intake, one)
            await fill(intake, other)
            await seal_and_forget(intake)
            there = sum(path.stat().st_size for path in (tmp_path / one.run_id).iterdir())
            first, listener = await connect(intake, one, epoch=1)
            assert intake.roster.run_bytes(one.run_id) == there
            second, _ = await connect(intake, other, epoch=1)
            assert intake.roster.run_bytes(one.run_id) == there, "each stored byte counts once"
            intake.leave(first.producer, listener)
            intake.roster.forget(first.producer)
            assert intake.roster.run_bytes(one.run_id) == there, "one of it is still in memory"
            intake.roster.forget(second.producer)
            assert intake.roster.run_bytes(one.run_id) == 0

    asyncio.run(scenario())


def test_runs_with_an_open_stream_are_counted_once_each(tmp_path):
    async def scenario():
        one, same, other = Produced(), Produced(), Produced(run_id="2026-other")
        async with running(tmp_path) as intake:
            streams = [await connect(intake, produced) for produced in (one, same, other)]
            streams.append(await connect(intake, one, epoch=2))  # takes the first one's place
            assert (intake.open_runs, intake.streams) == (2, 3)
            for admission, listener in streams:
                intake.leave(admission.producer, listener)
            assert (intake.open_runs, intake.streams) == (0, 0)

    asyncio.run(scenario())


def test_two_who_enter_at_once_find_the_same_producer(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            await fill(intake, produced)
            await seal_and_forget(intake)
            found = await asyncio.gather(*(intake.roster.enter(key_of(produced)) for _ in range(20)))
            assert len(set(map(id, found))) == 1

    asyncio.run(scenario())


def test_streams_that_say_hello_at_once_write_one_after_the_other(tmp_path):
    async def scenario():
        produced = Produced(frames=4)
        async with running(tmp_path) as intake:
            await fill(intake, produced, frames=produced.batches[:1])
            await seal_and_forget(intake)
            listeners = [Listener() for _ in range(8)]
            hellos = [intake.admit(produced.hello(epoch), Tenant("t"), each) for epoch, each in enumerate(listeners, 2)]
            admissions = await asyncio.gather(*hellos, return_exceptions=True)
            told = [each for each in listeners if each.refused is not None]
            assert all(each.refused.reason == "FENCED" for each in told)
            (writing,) = [
                each
                for each in admissions
                if not isinstance(each, BaseException) and each.session.epoch == each.producer.numbers.epoch
            ]
            writing.producer.listener.session = writing.session
            send(intake, writing, produced.schema, *produced.batches)
            await writing.producer.listener.until(lambda: writing.session.done)
            assert intake.streams == 1
        assert stored(tmp_path, produced) == produced.raw

    asyncio.run(scenario())


def test_who_left_and_was_forgotten_while_another_restored_it_is_restored_anew(tmp_path):
    async def scenario():
        produced = Produced(frames=4)
        async with running(tmp_path) as intake:
            await fill(intake, produced, frames=produced.batches[:1])
            await seal_and_forget(intake)
            restore, gate, asked = intake.engine.restore, asyncio.Event(), []

            async def slow(key, **how):
                restored = await restore(key, **how)
                asked.append(key)
                if len(asked) == 1:
                    await gate.wait()
                return restored

            intake.engine.restore = slow
            entering = asyncio.create_task(intake.roster.enter(key_of(produced)))
            await until(lambda: asked)
            await fill(intake, produced, frames=produced.batches[1:])
            await seal_and_forget(intake)
            gate.set()
            assert (await entering).numbers.durable_seq == 100

    asyncio.run(scenario())


@pytest.mark.parametrize("reason", ["FENCED", "NUMBERS", "QUOTA", "STREAMS", "PRODUCER_TAKEN"])
def test_a_refused_hello_leaves_nobody_in_memory(tmp_path, reason):
    async def scenario():
        produced = Produced()
        async with running(tmp_path, streams=1) as intake:
            await fill(intake, produced)
            await seal_and_forget(intake)
            if reason in ("STREAMS", "PRODUCER_TAKEN"):
                taken, _ = await connect(intake, Produced(run_id="taken"), tenant=Tenant("other"))
                intake._quotas.streams.clear()
                intake._quotas.streams["other"] = reason == "STREAMS"
            tenant = Tenant("t", max_run_bytes=10 if reason == "QUOTA" else 0)
            epoch = {"FENCED": 0, "NUMBERS": 1 << 63}.get(reason, 1)
            for number in range(1, 200):
                fresh = produced.producer_id if reason == "QUOTA" else number.to_bytes(16, "big")
                if reason == "PRODUCER_TAKEN":
                    fresh = taken.producer.key.producer_id
                with pytest.raises(Refused) as caught:
                    await intake.admit(produced.hello(epoch, producer_id=fresh), tenant, Listener())
                assert caught.value.reason == reason
            left = [each for key, each in intake.roster.producers.items() if key.run_id == produced.run_id]
            assert len(left) <= 1, "only one with files is kept, for a moment"
            assert all(each.left_at is not None for each in left)

    asyncio.run(scenario())


def test_the_bytes_of_a_run_are_counted_over_its_producers_and_survive_a_restart(tmp_path):
    async def scenario():
        one, other = Produced(), Produced()
        tenant = Tenant("t", max_run_bytes=1)
        async with running(tmp_path) as intake:
            await fill(intake, one)
            await fill(intake, other)
            there = sum(path.stat().st_size for path in tmp_path.glob("*/*.esr.zst"))
            assert intake.roster.run_bytes(one.run_id) == there
        async with running(tmp_path) as intake:
            for produced in (one, other, Produced()):
                with pytest.raises(Refused) as caught:
                    await intake.admit(produced.hello(9), tenant, Listener())
                assert caught.value.reason == "QUOTA"
                assert caught.value.retry_after_ms

    asyncio.run(scenario())


def test_bytes_that_were_cut_back_are_given_back(tmp_path):
    async def scenario():
        produced = Produced(frames=4)
        async with running(tmp_path) as intake:
            await fill(intake, produced, frames=produced.batches[:1])
            before = intake.roster.run_bytes(produced.run_id)
            admission, listener = await connect(intake, produced, epoch=2)
            with files_end_at(100):
                send(intake, admission, produced.schema, *produced.batches[1:])
                await listener.until(lambda: listener.refused is not None)
            assert listener.refused.reason == "STORAGE"
            assert intake.queued_bytes == 0
            there = sum(path.stat().st_size for path in tmp_path.glob("*/*.esr.zst"))
            assert intake.roster.run_bytes(produced.run_id) == there
            assert there >= before

    asyncio.run(scenario())


def test_a_producer_of_another_run_keeps_its_id_while_it_is_in_memory(tmp_path):
    async def scenario():
        produced = Produced()
        thief = Produced(run_id="another", producer_id=produced.producer_id)
        async with running(tmp_path) as intake:
            await fill(intake, produced)
            with pytest.raises(Refused) as caught:
                await connect(intake, thief)
            assert caught.value.reason == "PRODUCER_TAKEN"

    asyncio.run(scenario())


def test_producers_that_come_and_go_leave_a_bounded_number_of_files_open(tmp_path, monkeypatch):
    async def scenario():
        monkeypatch.setattr(producers, "_MOST_IDLE", 5)
        async with running(tmp_path) as intake:
            for number in range(20):
                await fill(intake, Produced(frames=1), number + 1)
            intake.seal_idle(asyncio.get_running_loop().time())
            await until(lambda: sum(each.lane.is_open for each in intake.roster.producers.values()) == 5)
            held = [each for each in intake.roster.producers.values() if each.lane.is_open]
            assert held == list(intake.roster.producers.values())[-5:], "those that left last"

    asyncio.run(scenario())


def test_a_tenant_has_as_many_runs_as_it_may_and_gets_back_what_is_deleted(tmp_path):
    async def scenario():
        tenant = Tenant("t", run_prefix="t-", max_runs=2)
        async with running(tmp_path) as intake:
            await fill(intake, Produced(run_id="other-1"))
            for number in range(2):
                await fill(intake, Produced(run_id=f"t-{number}"), tenant=tenant)
            await connect(intake, Produced(run_id="t-1"), tenant=tenant)  # another rank of a run that is there
            await seal_all_but_open(intake)
            for _ in range(3):
                with pytest.raises(Refused) as caught:
                    await connect(intake, Produced(run_id="t-2"), tenant=tenant)
                assert (caught.value.reason, caught.value.retry_after_ms > 0) == ("QUOTA", True)
            assert not [key for key in intake.roster.producers if key.run_id == "t-2"]
            await delete_run(intake, "t-0", tenant)
            await connect(intake, Produced(run_id="t-2"), tenant=tenant)

    asyncio.run(scenario())


async def seal_all_but_open(intake) -> None:
    """Let minutes pass for those that have no stream."""
    later = asyncio.get_running_loop().time() + 1000
    while any(each.listener is None for each in intake.roster.producers.values()):
        intake.seal_idle(later)
        await asyncio.sleep(0.01)


def test_streams_that_only_bring_schemas_and_go_do_not_run_up_a_credit(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            for epoch in range(1, 50):
                admission, listener = await connect(intake, produced, epoch)
                send(intake, admission, produced.schema)
                intake.leave(admission.producer, listener)
                assert admission.producer.queued_bytes >= 0
            await until(lambda: not intake.queued_bytes)
            assert intake.roster.run_bytes(produced.run_id) == 0
            await seal_and_forget(intake)

    asyncio.run(scenario())


def test_who_looks_a_producer_up_does_not_bring_the_file_into_order_that_is_being_written(tmp_path):
    async def scenario():
        produced = Produced(frames=4)
        async with running(tmp_path) as intake:
            admission, listener = await connect(intake, produced)
            send(intake, admission, produced.schema, *produced.batches[:2])
            await listener.until(lambda: admission.session.done)
            looked_up = await restore(intake.engine, key_of(produced))  # as a listing does that began before the stream
            assert looked_up.lane.numbers.durable_seq == 50
            assert looked_up.header.stream == "main"
            send(intake, admission, *produced.batches[2:], produced.close())
            await listener.until(lambda: admission.session.done)
        (path,) = tmp_path.glob("*/*.esr.zst")
        assert verify(path).good
        assert stored(tmp_path, produced) == produced.raw

    asyncio.run(scenario())


def test_what_a_restore_had_to_put_right_is_said(tmp_path, caplog):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            await fill(intake, produced)
            await seal_and_forget(intake)
            (path,) = tmp_path.glob("*/*.esr.zst")
            os.truncate(path, path.stat().st_size - 1500)
            admission, _ = await connect(intake, produced, epoch=2)
            assert admission.welcome.durable_seq < 100

    asyncio.run(scenario())
    assert "cut from" in caplog.text


def test_nobody_gets_into_a_run_that_is_closed(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            await fill(intake, produced)
            with intake.roster.closed(produced.run_id):
                with pytest.raises(Refused) as caught:
                    await connect(intake, produced, epoch=2)
                assert (caught.value.reason, caught.value.retry_after_ms > 0) == ("STORAGE", True)
                with pytest.raises(Refused) as caught, intake.roster.closed(produced.run_id):
                    pass
                assert caught.value.reason == "BUSY"
            await connect(intake, produced, epoch=2)

    asyncio.run(scenario())


def test_a_known_producer_without_a_stream_takes_two_kilobytes(tmp_path):
    async def scenario():
        async with running(tmp_path) as intake:
            await fill(intake, Produced(run_id="warm-up"))
            many = [Produced(frames=1, per_frame=1, run_id="run") for _ in range(60)]
            gc.collect()
            tracemalloc.start()
            try:
                for each in many[:10]:
                    await fill(intake, each)
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
                for each in many[10:]:
                    await fill(intake, each)
                gc.collect()
                grown = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            await seal_and_forget(intake)
            assert not intake.roster._run_bytes
            assert not intake.roster._runs
            return grown / 50

    assert asyncio.run(scenario()) < 8192  # with its segment still open: the appender is a part of it
