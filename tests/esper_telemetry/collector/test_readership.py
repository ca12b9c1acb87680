import asyncio

import pytest

from esper_telemetry.collector.auth import EVERYBODY, Tenant
from esper_telemetry.collector.refusal import Refused
from tests.esper_telemetry.collector.publisher import Produced
from tests.esper_telemetry.collector.test_intake import connect, running, send
from tests.esper_telemetry.collector.test_producers import fill, seal_and_forget


def test_a_run_that_is_followed_stays_in_memory_and_goes_when_its_last_reader_goes(tmp_path):
    async def scenario():
        produced = Produced()
        async with running(tmp_path) as intake:
            await fill(intake, produced)
            await seal_and_forget(intake)
            async with intake.readers.following(produced.run_id, EVERYBODY):
                async with intake.readers.following(produced.run_id, EVERYBODY):
                    pass
                for _ in range(3):
                    intake.seal_idle(asyncio.get_running_loop().time() + 1000)
                assert len(intake.roster.producers) == 1
                assert list(intake.readers.runs) == [produced.run_id]
            await seal_and_forget(intake)
            assert not intake.readers.runs

    asyncio.run(scenario())


def test_a_reader_is_told_when_something_of_its_run_moves_and_of_no_other(tmp_path):
    async def scenario():
        produced, other = Produced(frames=4), Produced(run_id="another")
        async with running(tmp_path) as intake:
            admission, listener = await connect(intake, produced)
            send(intake, admission, produced.schema, *produced.batches[:2])
            await listener.until(lambda: admission.session.done)
            async with intake.readers.following(produced.run_id, EVERYBODY) as moved:
                await fill(intake, other)
                assert not moved.is_set()
                send(intake, admission, *produced.batches[2:])
                await asyncio.wait_for(moved.wait(), 30)

    asyncio.run(scenario())


def test_a_run_without_anything_is_no_run_and_takes_no_place(tmp_path):
    async def scenario():
        async with running(tmp_path, readers=1) as intake:
            for number in range(5):
                with pytest.raises(Refused) as caught:
                    async with intake.readers.following(f"run-{number}", EVERYBODY):
                        pass
                assert caught.value.reason == "NO_RUN"
            assert not intake.readers.runs
            assert not intake.roster.producers

    asyncio.run(scenario())


def test_a_tenant_has_as_many_readers_as_it_may(tmp_path):
    async def scenario():
        produced, tenant = Produced(), Tenant("t", max_readers=1)
        async with running(tmp_path) as intake:
            await fill(intake, produced)
            async with intake.readers.following(produced.run_id, tenant):
                with pytest.raises(Refused) as caught:
                    async with intake.readers.following(produced.run_id, tenant):
                        pass
                assert caught.value.reason == "STREAMS"
                async with intake.readers.following(produced.run_id, Tenant("other")):
                    pass
            async with intake.readers.following(produced.run_id, tenant):
                pass

    asyncio.run(scenario())
