"""Runs beside the streams: files looked for, deleted for their age or on request, while streams come and go."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest

from esper_telemetry.collector.auth import EVERYBODY, Tenant
from esper_telemetry.collector.expiry import inspect
from esper_telemetry.collector.producers import restore
from esper_telemetry.collector.queries import delete_run, list_runs
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.retention import RetentionPlan, carry_out
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Produced, stored
from tests.esper_telemetry.collector.test_intake import Listener, connect, running, send
from tests.esper_telemetry.collector.test_producers import fill, key_of, seal_and_forget, until


def files(root, produced):
    return sorted(root.glob(f"{produced.run_id}/*.esr.zst"), key=lambda path: path.name[-14:])


def age(root) -> None:
    for path in root.glob("*/*.esr.zst"):
        os.utime(path, (1, 1))


async def fill_segments(intake, produced) -> None:
    """Store each frame in a segment of its own."""
    for epoch, batch in enumerate(produced.batches, 1):
        await fill(intake, produced, epoch, [batch])
        await seal_and_forget(intake)


async def expire(intake, before) -> None:
    """Delete the segments of every run that were last written before `before`."""
    runs = await intake.engine.runs()
    assert await carry_out(intake, RetentionPlan(dict.fromkeys(runs, before), {}, 0.0)) == 0


async def refusal(work) -> str:
    with pytest.raises(Refused) as caught:
        await work
    return caught.value.reason


def test_a_folder_that_is_removed_under_an_open_stream_ends_it_and_is_asked_for_again(tmp_path):
    async def scenario():
        produced = Produced(frames=4)
        async with running(tmp_path) as intake:
            admission, listener = await connect(intake, produced)
            send(intake, admission, produced.schema, *produced.batches[:2])
            await listener.until(lambda: admission.session.done)
            shutil.rmtree(tmp_path / produced.run_id)
            inspect(intake)
            await listener.until(lambda: listener.refused is not None)
            assert listener.refused.reason == "STORAGE"
            intake.leave(admission.producer, listener)
            assert intake._metrics.lost_numbers._value.get() == 50
            again = await fill(intake, produced, 2)
            assert again.welcome.durable_seq == 0
        assert stored(tmp_path, produced) == produced.raw

    asyncio.run(scenario())


def test_retention_also_deletes_segments_of_a_producer_that_is_looked_up_just_now(tmp_path):
    async def scenario():
        produced, other = Produced(frames=5), Produced()
        async with running(tmp_path) as intake:
            await fill_segments(intake, produced)
            await connect(intake, other)
            looked_up = await restore(intake.engine, key_of(produced))  # as ListRuns does, with no stream open
            age(tmp_path)
            await expire(intake, 1000.0)
            await until(lambda: len(files(tmp_path, produced)) == 1)
            there = sum(path.stat().st_size for path in files(tmp_path, produced))
            await until(lambda: intake.roster.run_bytes(produced.run_id) == there)
            assert [segment.path for segment in looked_up.lane.published] == files(tmp_path, produced)

    asyncio.run(scenario())


@pytest.mark.parametrize("in_memory", [True, False])
def test_retention_gives_bytes_back_whether_the_producer_is_in_memory_or_not(tmp_path, in_memory):
    async def scenario():
        produced, other = Produced(frames=5), Produced()
        async with running(tmp_path) as intake:
            await fill_segments(intake, produced)
            admission, listener = await connect(intake, produced if in_memory else other, epoch=99)
            age(tmp_path)
            await expire(intake, 1000.0)
            await until(lambda: len(files(tmp_path, produced)) == 1)
            there = sum(path.stat().st_size for path in files(tmp_path, produced))
            await until(lambda: intake.roster.run_bytes(produced.run_id) == there)
            (run,) = (await list_runs(intake, collector_pb2.ListRunsRequest(), EVERYBODY)).runs
            assert sum(each.stored_bytes for each in run.producers) == there
            await until(lambda: intake._metrics.expired_segments._value.get() == 4)
            intake.leave(admission.producer, listener)

    asyncio.run(scenario())


def test_retention_never_takes_a_file_from_a_stream_that_begins_meanwhile(tmp_path):
    async def scenario():
        produced = Produced(frames=5)
        async with running(tmp_path) as intake:
            await fill_segments(intake, produced)
            age(tmp_path)
            admission, listener = await connect(intake, produced, epoch=99)
            intake.roster.producers.clear()  # the pruning decided before this stream came
            await expire(intake, 1000.0)
            intake.roster.producers[admission.producer.key] = admission.producer
            inspect(intake)
            await asyncio.sleep(0.1)
            assert listener.refused is None
            assert intake._metrics.lost_numbers._value.get() == 0

    asyncio.run(scenario())


def test_what_retention_left_is_where_a_producer_goes_on(tmp_path):
    async def scenario():
        produced = Produced(frames=5)
        async with running(tmp_path) as intake:
            await fill_segments(intake, produced)
            age(tmp_path)
            await expire(intake, 1000.0)
            assert len(files(tmp_path, produced)) == 1
        async with running(tmp_path) as intake:
            admission, _ = await connect(intake, produced)
            assert admission.welcome.durable_seq == produced.last_seq

    asyncio.run(scenario())


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_deleted_run_is_gone_and_may_begin_anew(tmp_path, in_memory):
    async def scenario():
        produced, other = Produced(), Produced(run_id="another")
        async with running(tmp_path) as intake:
            await fill(intake, produced)
            await fill(intake, other)
            if not in_memory:
                await seal_and_forget(intake)
            size = await delete_run(intake, produced.run_id, EVERYBODY)
            assert size > sum(map(len, produced.raw))
            assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == [other.run_id]
            assert intake.roster.run_bytes(produced.run_id) == 0
            admission = await fill(intake, produced, 1)
            assert admission.welcome.durable_seq == 0
        assert stored(tmp_path, produced) == produced.raw
        assert stored(tmp_path, other) == other.raw

    asyncio.run(scenario())


def test_a_run_that_is_written_or_read_or_not_there_or_not_ones_own_is_not_deleted(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            assert await refusal(delete_run(intake, produced.run_id, EVERYBODY)) == "NO_RUN"
            assert await refusal(delete_run(intake, "../" + produced.run_id, EVERYBODY)) == "IDENTITY"
            admission, listener = await connect(intake, produced)
            send(intake, admission, produced.schema, *produced.batches)
            await listener.until(lambda: admission.session.done)
            assert await refusal(delete_run(intake, produced.run_id, EVERYBODY)) == "BUSY"
            intake.leave(admission.producer, listener)
            async with intake.readers.following(produced.run_id, EVERYBODY):
                assert await refusal(delete_run(intake, produced.run_id, EVERYBODY)) == "BUSY"
            assert await refusal(delete_run(intake, produced.run_id, Tenant("t", run_prefix="x"))) == "FORBIDDEN"
            assert await delete_run(intake, produced.run_id, EVERYBODY)

    asyncio.run(scenario())


def test_streams_that_come_while_a_run_is_deleted_come_before_or_after_it(tmp_path):
    async def scenario():
        async with running(tmp_path) as intake:
            for turn in range(10):
                produced = Produced(frames=2)
                await fill(intake, produced)
                await seal_and_forget(intake)
                deleting = asyncio.create_task(delete_run(intake, produced.run_id, EVERYBODY))
                for _ in range(turn):
                    await asyncio.sleep(0)
                listener = Listener()
                admitting = intake.admit(produced.hello(50), EVERYBODY, listener)
                admission, _ = await asyncio.gather(admitting, deleting, return_exceptions=True)
                if isinstance(admission, Refused):
                    assert admission.reason == "STORAGE"  # and comes back
                    continue
                inspect(intake)
                await asyncio.sleep(0.05)
                assert listener.refused is None, "no file goes from under a stream"
                intake.leave(admission.producer, listener)

    asyncio.run(scenario())


def test_a_folder_that_cannot_be_deleted_says_so_and_stays_usable(tmp_path, monkeypatch):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            await fill(intake, produced)

            def refuse(*_):
                raise PermissionError("not yours")

            monkeypatch.setattr("pathlib.Path.rename", refuse)
            assert await refusal(delete_run(intake, produced.run_id, EVERYBODY)) == "STORAGE"
            admission, _ = await connect(intake, produced, epoch=9)
            assert admission.welcome.durable_seq == 100

    asyncio.run(scenario())
