"""A light event does what an event of asyncio does, and takes next to nothing while nobody waits."""

import asyncio
import tracemalloc

import pytest

from esper_telemetry.collector.light_event import LightEvent


def test_all_who_wait_go_on_and_who_comes_later_too_until_it_is_cleared():
    async def scenario():
        event = LightEvent()
        waiting = [asyncio.create_task(event.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        event.set()
        await asyncio.gather(*waiting)
        await event.wait()
        event.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(event.wait(), 0.01)

    asyncio.run(scenario())


def test_one_that_is_set_and_cleared_at_once_still_wakes_those_who_waited():
    async def scenario():
        event = LightEvent()
        waiting = [asyncio.create_task(event.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        event.set()
        event.clear()
        await asyncio.wait_for(asyncio.gather(*waiting), 5)

    asyncio.run(scenario())


def test_a_waiter_that_is_cancelled_takes_no_other_with_it():
    async def scenario():
        event = LightEvent()
        first, second = asyncio.create_task(event.wait()), asyncio.create_task(event.wait())
        await asyncio.sleep(0)
        first.cancel()
        event.set()
        await asyncio.wait_for(second, 5)
        assert first.cancelled() or first.done()

    asyncio.run(scenario())


def test_it_takes_less_than_a_hundred_bytes_before_and_after_a_wait():
    async def scenario():
        many = [LightEvent() for _ in range(1000)]
        grown = tracemalloc.get_traced_memory()[0] - before
        waiting = [asyncio.create_task(each.wait()) for each in many]
        await asyncio.sleep(0)
        for each in many:
            each.set()
        await asyncio.gather(*waiting)
        del waiting
        assert grown / 1000 < 100
        assert all(each._waiters is None for each in many)

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        asyncio.run(scenario())
    finally:
        tracemalloc.stop()
