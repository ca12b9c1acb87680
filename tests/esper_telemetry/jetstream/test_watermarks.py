"""Watermarks on a real bucket: they move for one consumer only, whatever was lost on the way."""

import asyncio
from dataclasses import replace

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.jetstream.entries import bucket_key
from esper_telemetry.jetstream.leases import LostError
from esper_telemetry.jetstream.producer_state import Watermarks
from esper_telemetry.storage.naming import ProducerKey
from tests.esper_telemetry.jetstream.test_connection import opened

KEY = ProducerKey("run", b"p" * 16)


class Unsure:
    """A connection whose answers to writes are lost, now and then after the write, now and then before."""

    def __init__(self, log, lose: list[str]) -> None:
        self._log, self._lose = log, lose
        self.get = log.get

    async def swap(self, key, value, revision):
        how = self._lose.pop(0) if self._lose else ""
        if how == "before":
            raise SinkError("lost before")
        written = await self._log.swap(key, value, revision)
        if how == "after":
            raise SinkError("lost after")
        return written


def taken_by(consumer, generation):
    return lambda state: state.taken_over(consumer, generation, 0)


def test_a_watermark_moves_until_another_consumer_has_the_producer(log_settings):
    async def scenario():
        async with opened(log_settings) as log:
            first, second = Watermarks(log, "first"), Watermarks(log, "second")
            assert (await first.read(KEY)).revision == 0
            held = await first.change(KEY, taken_by("first", 1))
            held = await first.move(held, replace(held.state, durable_seq=10))
            assert (await second.read(KEY)).state.durable_seq == 10
            taken = await second.change(KEY, taken_by("second", 2))
            assert taken.state.limit_of("first") == 10
            with pytest.raises(LostError, match="consumer second has it now"):
                await first.move(held, replace(held.state, durable_seq=20))
            moved = await second.move(taken, replace(taken.state, durable_seq=15))
            assert (await first.read(KEY)) == moved

    asyncio.run(scenario())


@pytest.mark.parametrize("lost", [["after"], ["before"], ["before", "after", "before"]])
def test_a_write_whose_answer_is_lost_happens_once(log_settings, lost):
    async def scenario():
        async with opened(log_settings) as log:
            one = Watermarks(Unsure(log, list(lost)), "one")
            held = await one.change(KEY, taken_by("one", 1))
            again = Watermarks(Unsure(log, list(lost)), "one")
            moved = await again.move(held, replace(held.state, durable_seq=7))
            assert await one.read(KEY) == moved
            assert moved.state.durable_seq == 7

    asyncio.run(scenario())


def test_a_bucket_that_forgot_an_acked_write_is_told_again(log_settings):
    async def scenario():
        async with opened(log_settings) as log:
            one = Watermarks(log, "one")
            old = await one.change(KEY, taken_by("one", 1))
            held = await one.move(old, replace(old.state, durable_seq=7))
            await log.put(bucket_key("state", KEY), old.state.to_bytes())  # as a leader's death does on old servers
            moved = await one.move(held, replace(held.state, durable_seq=9))
            assert (await one.read(KEY)) == moved

    asyncio.run(scenario())
