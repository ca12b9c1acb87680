import asyncio

from esper_telemetry.collector.tasks import end_tasks


def test_a_task_that_forgets_a_cancellation_is_ended_all_the_same():
    forgotten = []

    async def forgetful() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                forgotten.append(1)
                if len(forgotten) == 3:
                    raise

    async def scenario():
        tasks = [asyncio.create_task(forgetful()), asyncio.create_task(asyncio.sleep(3600))]
        await asyncio.sleep(0)
        await end_tasks(tasks)
        assert all(task.cancelled() for task in tasks)
        await end_tasks([])

    asyncio.run(scenario())
    assert len(forgotten) == 3
