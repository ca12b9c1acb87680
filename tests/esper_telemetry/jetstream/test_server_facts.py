"""What the servers and their client library do that the design rests upon, on each nats-server of this machine.

A test that fails here tells that a server has changed, and which decision of ours has to be looked at again.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import nats
import pytest
from nats.js.api import RetentionPolicy
from nats.js.errors import APIError

from esper_telemetry.jetstream.deployment import LogSettings
from esper_telemetry.jetstream.entries import LEAST_PAYLOAD
from tests.esper_telemetry.jetstream.natscluster import PROGRAMS, NatsCluster, wait_until
from tests.esper_telemetry.jetstream.test_connection import opened, until

EACH = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
STREAM = "esper-log"


@pytest.fixture
def start(tmp_path):
    clusters = []

    def some(size: int, program: str, extra: str = "") -> NatsCluster:
        clusters.append(NatsCluster(tmp_path / "nats", size, extra, program=program))
        return clusters[-1]

    yield some
    for cluster in clusters:
        cluster.stop()


@asynccontextmanager
async def bare(cluster: NatsCluster):
    client = await nats.connect(cluster.url.removeprefix("nats://").split(","), max_reconnect_attempts=-1)
    try:
        yield client, client.jetstream()
    finally:
        await client.close()


def numbered(program: str) -> tuple[int, ...]:
    version = next(version for version, each in PROGRAMS.items() if each == program)
    return tuple(map(int, version.split(".")))


def settings_of(cluster: NatsCluster) -> LogSettings:
    return LogSettings(servers=cluster.url, partitions=2, replicas=cluster.size, max_bytes=64 << 20)


# So a publish that nobody answers is unknown, not failed: a gateway publishes again what no watermark covers in time,
# and a consumer drops by its numbers what came twice.
@pytest.mark.slow
@EACH
def test_a_publish_that_a_stream_without_majority_never_answers_is_stored_later(start, program):
    cluster = start(3, program)

    async def scenario():
        async with opened(settings_of(cluster)):
            await asyncio.to_thread(wait_until, lambda: cluster.whole(STREAM), "the stream to be whole")
        leader = cluster.leader(STREAM)
        others = [number for number in range(3) if number != leader]
        address = cluster.url.removeprefix("nats://").split(",")[leader]
        async with opened(replace(settings_of(cluster), servers=f"nats://{address}")) as log:
            for number in others:
                cluster.kill(number)
            # At once, to the leader itself: after some seconds without a majority it leads no more, and keeps nothing.
            await log.publish(settings_of(cluster).names.partition(0), b"x")
            await asyncio.sleep(3)
            assert log.acked == 0
            for number in others:
                await asyncio.to_thread(cluster.start, number)
            await asyncio.to_thread(wait_until, lambda: cluster.messages(STREAM) == 1, "the message to be stored")

    asyncio.run(scenario())


@EACH
def test_a_publish_while_disconnected_is_stored_later(start, program):
    cluster = start(1, program)

    async def scenario():
        async with opened(settings_of(cluster)) as log:
            await asyncio.to_thread(cluster.kill, 0)
            await until(lambda: not log.connected)
            await log.publish(settings_of(cluster).names.partition(0), b"x")
            await asyncio.to_thread(cluster.start, 0)
            await asyncio.to_thread(wait_until, lambda: cluster.messages(STREAM) == 1, "the message to be stored")

    asyncio.run(scenario())


# So a message of ours has no id: it would tell duplicates apart until the first restart only.
@EACH
def test_a_restart_forgets_the_ids_of_messages_that_were_acked(start, program):
    cluster = start(1, program)

    async def scenario():
        async with bare(cluster) as (client, js):
            await js.add_stream(name="s", subjects=["s"], retention=RetentionPolicy.WORK_QUEUE)
            await js.publish("s", b"x", headers={"Nats-Msg-Id": "one"})
            assert (await js.publish("s", b"x", headers={"Nats-Msg-Id": "one"})).duplicate
            puller = await js.pull_subscribe("s", durable="d")
            (message,) = await puller.fetch(1)
            await message.ack_sync()
            assert (await js.publish("s", b"x", headers={"Nats-Msg-Id": "one"})).duplicate
            await asyncio.to_thread(cluster.kill, 0)
            await asyncio.to_thread(cluster.start, 0)
            await until(lambda: client.is_connected)
            async with asyncio.timeout(60):
                while True:
                    try:
                        again = await js.publish("s", b"x", headers={"Nats-Msg-Id": "one"})
                        break
                    except nats.errors.Error:
                        await asyncio.sleep(0.2)
            assert not again.duplicate, "it is stored a second time"

    asyncio.run(scenario())


# So a compare-and-set that was not answered is never sent again as it was: the value is read first.
@EACH
def test_an_expected_sequence_that_is_sent_again_is_a_duplicate_before_2_12_and_an_error_since(start, program):
    cluster = start(1, program)

    async def scenario():
        async with bare(cluster) as (_, js):
            await js.add_stream(name="s", subjects=["s"])
            headers = {"Nats-Msg-Id": "one", "Nats-Expected-Last-Sequence": "0"}
            await js.publish("s", b"x", headers=headers)
            if numbered(program) < (2, 12):
                assert (await js.publish("s", b"x", headers=headers)).duplicate
            else:
                with pytest.raises(APIError) as told:
                    await js.publish("s", b"x", headers=headers)
                assert told.value.err_code == 10071

    asyncio.run(scenario())


# So a message of ours has no headers, and is never longer than the servers' max_payload without them.
@EACH
def test_headers_on_a_message_of_max_payload_close_the_client_for_good(start, program):
    cluster = start(1, program)

    async def scenario():
        async with bare(cluster) as (client, _):
            await client.publish("any", bytes(client.max_payload))
            await client.flush()
            await client.publish("any", bytes(client.max_payload), headers={"Name": "value"})
            await until(lambda: client.is_closed)
        async with opened(settings_of(cluster)) as log:
            assert log.max_payload == LEAST_PAYLOAD
            await log.publish(settings_of(cluster).names.partition(0), bytes(log.max_payload))
            await asyncio.to_thread(wait_until, lambda: cluster.messages(STREAM) == 1, "the message to be stored")
            assert log.connected
            assert log.connects == 0

    asyncio.run(scenario())
