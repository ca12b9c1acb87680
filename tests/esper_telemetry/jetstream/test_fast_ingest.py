"""Batches of messages: what is asked of servers, what their answers mean, and real servers with and without them."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest

from esper_telemetry.jetstream.connection import JetStream
from esper_telemetry.jetstream.deployment import LogSettings
from esper_telemetry.jetstream.fast_ingest import FLOW, Answer, FastIngest
from tests.esper_telemetry.jetstream.natscluster import PROGRAMS, NatsCluster
from tests.esper_telemetry.jetstream.test_connection import opened, taken, until

NEW = {version: program for version, program in PROGRAMS.items() if tuple(map(int, version.split(".")[:2])) >= (2, 14)}
OLD = {version: program for version, program in PROGRAMS.items() if version not in NEW}


def ingest() -> FastIngest:
    numbers = itertools.count(1)
    return FastIngest("inbox", lambda: f"b{next(numbers)}")


def answer(batches: FastIngest, name: str, /, now: float = 0.0, **said) -> Answer:
    return batches.answered(f"inbox.{name}.{FLOW}.ok.1.0.$FI", json.dumps(said).encode(), now)


def test_messages_of_a_batch_are_numbered_and_silence_begins_another():
    batches = ingest()
    assert [batches.reply(now) for now in (0, 3)] == [f"inbox.b1.{FLOW}.ok.1.0.$FI", f"inbox.b1.{FLOW}.ok.2.1.$FI"]
    assert batches.reply(3 + 5) == f"inbox.b2.{FLOW}.ok.1.0.$FI"
    batches.end()
    assert batches.reply(8) == f"inbox.b3.{FLOW}.ok.1.0.$FI"


def test_an_ack_counts_what_was_taken_since_the_last_one():
    batches = ingest()
    batches.reply(0)
    taken = [answer(batches, "b1", type="ack", seq=seq, msgs=FLOW) for seq in (1, 17, 17, 9, 33)]
    assert [each.acked for each in taken] == [1, 16, 0, 0, 16]
    assert answer(batches, "b0", type="ack", seq=90) == Answer(), "of a batch that is over"
    assert answer(batches, "b1", type="gap", last_seq=33, seq=40) == Answer()
    assert answer(batches, "b1", stream="s", seq=7, batch="b1", count=40) == Answer(acked=7)
    assert batches.reply(0) == f"inbox.b2.{FLOW}.ok.1.0.$FI", "the servers ended it"


def test_a_refused_message_is_told_and_a_refused_batch_begins_anew():
    batches = ingest()
    batches.reply(0)
    full = {"code": 400, "err_code": 10077, "description": "maximum bytes exceeded"}
    assert answer(batches, "b1", type="err", seq=1, error=full) == Answer(refused="maximum bytes exceeded")
    assert batches.reply(0) == f"inbox.b1.{FLOW}.ok.2.1.$FI"
    unknown = {"code": 400, "err_code": 10208, "description": "batch publish ID unknown"}
    assert answer(batches, "b1", error=unknown).refused == "batch publish ID unknown"
    assert batches.reply(0) == f"inbox.b2.{FLOW}.ok.1.0.$FI"
    assert batches.answered("inbox.b2.x", b"", 0) == Answer(refused="no stream answers")


def test_one_batch_too_many_is_no_batch_for_a_while():
    batches = ingest()
    batches.reply(0)
    assert answer(batches, "b1", now=1.0, error={"code": 429, "err_code": 10210, "description": "too many"}).refused
    assert (batches.reply(2), batches.reply(60)) == (None, None)
    assert batches.reply(61.5) == f"inbox.b2.{FLOW}.ok.1.0.$FI"


@pytest.fixture
def start(tmp_path):
    servers = []

    def one(program: str) -> LogSettings:
        servers.append(NatsCluster(tmp_path / "nats", 1, program=program))
        return LogSettings(servers=servers[-1].url, partitions=2, replicas=1, max_bytes=1 << 20), servers[-1]

    yield one
    for server in servers:
        server.stop()


@pytest.mark.parametrize("program", NEW.values(), ids=NEW.keys())
def test_a_server_that_has_batches_acks_many_messages_at_once_and_tells_of_a_full_stream(start, program):
    settings, server = start(program)

    async def scenario():
        async with opened(settings) as log:
            assert log.batched
            for number in range(200):
                await log.publish(settings.names.partition(number % 2), b"%d" % number)
            await until(lambda: log.acked > 200 - FLOW)
            assert log.answers <= 2 + 200 // FLOW
            pull = await log.pull(1, 1)
            assert [int(message.data) for message in await taken(pull, 100)] == list(range(1, 200, 2))
            for _ in range(20):
                await log.publish(settings.names.partition(0), bytes(100_000))
            await until(lambda: log.refusals > 0)
            assert "maximum bytes exceeded" in log.refused
            before = (await log.fill()).messages
            await asyncio.to_thread(server.kill, 0)
            await asyncio.to_thread(server.start, 0)
            await until(lambda: log.connects == 1)
            while (await log.fill()).messages == before:  # a full stream takes what is short enough
                await log.publish(settings.names.partition(0), b"after")
                await asyncio.sleep(0.1)

    asyncio.run(scenario())


@pytest.mark.parametrize("program", OLD.values(), ids=OLD.keys())
def test_a_server_that_only_says_yes_gets_no_batches(start, program):
    settings, _ = start(program)

    async def scenario():
        log = JetStream(settings, "test")
        await log.open()
        try:
            assert not log.batched
            for _ in range(20):
                await log.publish(settings.names.partition(0), b"x")
            await until(lambda: log.acked == log.answers == 20)
        finally:
            await log.close()

    asyncio.run(scenario())
