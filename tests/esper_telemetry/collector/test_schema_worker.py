"""The process that checks large schemas: killed, hung, misled or idle, the collector goes on."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from google.protobuf import descriptor_pb2

from esper_telemetry.collector import schema_worker
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.collector.schema_worker import SchemaWorker, WorkerError
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Produced


@pytest.fixture(scope="module")
def produced():
    return Produced(frames=1)


def with_worker(scenario):
    async def run():
        worker = SchemaWorker()
        try:
            await asyncio.wait_for(scenario(worker), 60)
        finally:
            await worker.close()
        assert worker._process is None

    asyncio.run(run())


def large_schema(produced, messages=1_600, broken=False) -> collector_pb2.Schema:
    """Return a schema with a further file of many messages."""
    schema = collector_pb2.Schema()
    schema.CopyFrom(produced.schema)
    extra = descriptor_pb2.FileDescriptorProto(name="large.proto", package="large", syntax="proto3")
    for number in range(messages):
        message = extra.message_type.add(name=f"Message{number}")
        kind = descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE
        message.field.add(name="value", number=1, type=kind, label=1)
    if broken:
        extra.message_type[0].field[0].type_name = ".nowhere.Nothing"
        extra.message_type[0].field[0].type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    schema.header.types.add(type_id=9, full_name="large.Message1")
    schema.header.file_descriptor_set += descriptor_pb2.FileDescriptorSet(file=[extra]).SerializeToString()
    schema.fingerprint = schema_fingerprint(schema.header)
    return schema


def serialized(schema) -> bytes:
    return schema.header.SerializeToString()


def test_good_and_bad_schemas_are_told_apart(produced):
    async def scenario(worker):
        assert await worker.check(serialized(large_schema(produced))) == ""
        assert "Nothing" in await worker.check(serialized(large_schema(produced, broken=True)))
        assert await worker.check(serialized(large_schema(produced))) == ""

    with_worker(scenario)


def test_a_worker_that_was_killed_is_replaced_and_nobody_notices(produced):
    async def scenario(worker):
        for _ in range(3):
            assert await worker.check(serialized(large_schema(produced))) == ""
            os.kill(worker._process.pid, signal.SIGKILL)
        assert await worker.check(serialized(large_schema(produced))) == ""
        os.kill(worker._process.pid, signal.SIGSTOP)  # it dies while it is asked
        asking = asyncio.create_task(worker.check(serialized(large_schema(produced))))
        await asyncio.sleep(0.05)
        os.kill(worker._process.pid, signal.SIGKILL)
        assert await asking == ""

    with_worker(scenario)


def test_a_process_that_cannot_run_is_no_fault_of_the_schema(produced, monkeypatch):
    async def scenario(worker):
        monkeypatch.setattr(schema_worker.sys, "executable", "/bin/false")
        with pytest.raises(WorkerError):
            await worker.check(serialized(large_schema(produced)))
        monkeypatch.setattr(schema_worker.sys, "executable", "/nowhere")
        with pytest.raises(WorkerError):
            await worker.check(serialized(large_schema(produced)))

    with_worker(scenario)


def test_clients_are_told_to_come_back_while_no_process_can_run(produced, monkeypatch):
    async def scenario():
        check = SchemaCheck(CollectorLimits())
        monkeypatch.setattr(schema_worker.sys, "executable", "/bin/false")
        with pytest.raises(Refused) as caught:
            await check.check_ahead(large_schema(produced), ProducerKey(produced.run_id, produced.producer_id))
        assert (caught.value.reason, caught.value.retry_after_ms > 0) == ("STORAGE", True)
        await check.close()

    asyncio.run(scenario())


def test_a_worker_that_does_not_answer_is_ended_and_the_next_schema_is_checked(produced, monkeypatch):
    async def scenario(worker):
        assert await worker.check(serialized(large_schema(produced))) == ""
        os.kill(worker._process.pid, signal.SIGSTOP)
        monkeypatch.setattr(schema_worker, "_ANSWER_S", 0.3)
        stopped = worker._process
        assert "could not be checked" in await worker.check(serialized(large_schema(produced)))
        assert stopped.returncode == -signal.SIGKILL
        monkeypatch.undo()
        assert await worker.check(serialized(large_schema(produced))) == ""

    with_worker(scenario)


def test_who_gives_up_waiting_leaves_no_answer_for_the_next(produced):
    async def scenario(worker):
        asking = asyncio.create_task(worker.check(serialized(large_schema(produced, broken=True))))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await worker.check(serialized(large_schema(produced))) == ""

    with_worker(scenario)


def test_bytes_that_are_no_header_are_answered(produced):
    async def scenario(worker):
        assert await worker.check(b"\xff" * 100)
        assert await worker.check(serialized(large_schema(produced))) == ""

    with_worker(scenario)


def test_an_idle_process_is_ended_and_comes_back(produced, monkeypatch):
    async def scenario(worker):
        monkeypatch.setattr(schema_worker, "_IDLE_S", 0.05)
        assert await worker.check(serialized(large_schema(produced))) == ""
        await asyncio.wait_for(worker._process.wait(), 30)
        assert await worker.check(serialized(large_schema(produced))) == ""

    with_worker(scenario)


def test_memory_is_given_back_by_a_new_process_after_some_checks(produced, monkeypatch):
    async def scenario(worker):
        monkeypatch.setattr(schema_worker, "_CHECKS", 2)
        seen = set()
        for _ in range(4):
            assert await worker.check(serialized(large_schema(produced))) == ""
            seen.add(worker._process.pid if worker._process else None)
        assert len(seen) == 3  # two processes, and none after their last checks

    with_worker(scenario)


def test_a_large_schema_is_checked_once_for_all_who_bring_it(produced):
    async def scenario():
        check, schema = SchemaCheck(CollectorLimits()), large_schema(produced)
        key = ProducerKey(produced.run_id, produced.producer_id)
        await check.check_ahead(schema, key)
        checked = check._worker._checks
        await check.check_ahead(schema, key)
        assert check._worker._checks == checked
        assert check.check(schema, key).descriptors == schema.header.file_descriptor_set
        await check.close()

    asyncio.run(scenario())
