"""The log on a real server: messages come until acked, a value changes for one of two, a full stream says so."""

import asyncio
import logging
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import replace

import nats
import pytest

from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.daemon.metrics_port import MetricSet
from esper_telemetry.errors import ConfigError, SinkError
from esper_telemetry.jetstream.connection import JetStream
from esper_telemetry.jetstream.leases import LostError
from tests.esper_telemetry.jetstream.natscluster import NatsCluster


@asynccontextmanager
async def opened(settings):
    log = JetStream(settings, "test")
    await log.open()
    try:
        yield log
    finally:
        await log.close()


async def taken(pull, count: int) -> list:
    found = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await pull.take(1)
    return found


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


def test_what_is_published_comes_in_order_and_again_until_it_is_acked(log_settings):
    async def scenario():
        async with opened(log_settings) as log:
            assert log.partitions == 2
            for number in range(200):
                await log.publish(log_settings.names.partition(1), b"%d" % number)
            pull = await log.pull(1, 1)
            came = await taken(pull, 200)
            assert [int(message.data) for message in came] == list(range(200))
            await pull.ack([message.reply for message in came[:150]])
            while (await log.fill()).messages > 50:  # noqa: ASYNC110 - acks are answered by nothing
                await asyncio.sleep(0.05)
            again = await log.pull(1, 2)
            came = await taken(again, 50)
            assert [int(message.data) for message in came] == list(range(150, 200)), "the next owner begins there"
            with pytest.raises(SinkError, match="another consumer took the partition"):
                await taken(pull, 1)
            with pytest.raises(LostError, match="partition 1 is taken by another consumer"):
                await log.pull(1, 1)  # who stood still meanwhile must not take it back
            await again.ack([message.reply for message in came])
            while (await log.fill()).messages:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.05)
            await until(lambda: log.acked == 200)

    asyncio.run(scenario())


def test_a_value_changes_for_one_of_two(log_settings):
    async def scenario():
        async with opened(log_settings) as one, opened(log_settings) as other:
            assert await one.get("key") is None
            revision = await one.swap("key", b"1", 0)
            assert await other.swap("key", b"2", 0) is None
            entry = await other.get("key")
            assert entry == (b"1", revision)
            assert await other.swap("key", b"2", revision) > revision
            assert await one.swap("key", b"3", revision) is None
            await one.put("key", b"4")
            assert (await other.get("key")).value == b"4"

    asyncio.run(scenario())


def test_what_is_told_is_heard_and_not_kept(log_settings):
    async def scenario():
        async with opened(log_settings) as one, opened(log_settings) as other:
            heard = []

            async def hear(message) -> None:
                heard.append(message.data)

            await one.subscribe("told", hear)
            await one.fill()  # a round trip: the subscription is there
            await other.send("told", b"x")
            await until(lambda: heard == [b"x"])
            assert (await one.fill()).messages == 0

    asyncio.run(scenario())


def test_a_full_stream_refuses_and_says_so(log_settings):
    async def scenario():
        async with opened(replace(log_settings, max_bytes=1 << 20)) as log:
            for _ in range(40):
                await log.publish(log_settings.names.partition(0), bytes(100_000))
            await until(lambda: log.acked + log.refusals == 40)
            fill = await log.fill()
            assert log.acked == fill.messages < 11
            assert fill.bytes <= fill.max_bytes == 1 << 20
            assert "maximum bytes exceeded" in log.refused

    asyncio.run(scenario())


def test_a_stream_that_would_lose_what_it_took_is_refused(log_settings):
    async def scenario():
        client = await nats.connect(log_settings.servers)
        await client.jetstream().add_stream(name=log_settings.names.stream, subjects=["elsewhere"])
        await client.close()
        with pytest.raises(ConfigError, match=r"retention is .* it must be .*remove the stream"):
            await JetStream(log_settings, "test").open()

    asyncio.run(scenario())


def test_a_server_that_cannot_do_it_is_refused(log_settings, tmp_path):
    small = NatsCluster(tmp_path, 1, "max_payload: 65536\n")
    try:
        with pytest.raises(ConfigError, match="max_payload is 65,536 bytes; a frame needs 1,048,576"):
            asyncio.run(JetStream(replace(log_settings, servers=small.url), "test").open())
    finally:
        small.stop()
    with pytest.raises(ConfigError, match="is JetStream on, with 3 servers"):
        asyncio.run(JetStream(replace(log_settings, replicas=3), "test").open())


def test_without_the_client_library_the_error_says_which_install_mends_it():
    code = (
        "import sys; sys.modules['nats'] = None\n"
        "try:\n    import esper_telemetry.jetstream.connection\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "MissingExtraError nats-py is not installed; get it with: pip install 'esper-telemetry[nats]'\n"


def test_an_error_of_a_callback_is_counted_and_the_next_message_comes(log_settings, caplog):
    async def scenario():
        metrics, heard = MetricSet("test_"), []

        async def hear(message) -> None:
            heard.append(message.data)
            if message.data == b"odd":
                raise ValueError("a message that cannot be understood")

        log = JetStream(log_settings, "test", TaskFailures(logging.getLogger("log"), metrics.task_failures))
        await log.open()
        await log.subscribe("test.messages", hear)
        for data in (b"odd", b"even"):
            await log.send("test.messages", data)
        await until(lambda: len(heard) == 2)
        assert metrics.registry.get_sample_value("test_task_failures_total", {"task": "messages"}) == 1
        await log.close()

    asyncio.run(scenario())
    assert "a message that cannot be understood" in caplog.text


def test_a_connection_that_its_library_closes_for_good_says_so(log_settings):
    async def scenario():
        async with opened(log_settings) as log:
            assert not log.closed
            await log._nc.close()  # as the library does after an error of its own
            assert "closed for good" in log.closed

    asyncio.run(scenario())
