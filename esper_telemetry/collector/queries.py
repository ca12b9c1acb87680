"""The runs a collector knows, as ListRuns shows them: those in memory and those that only their files tell of.

A page ends before a client's limit of a message, or its patience, is reached, whatever others have sent.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from esper_telemetry.collector.producers import (
    Producer,
    bounded_labels,
    check_run_id,
    restore,
    storage_refusal,
    stored_members,
)
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import SinkError
from esper_telemetry.storage.engine import PutSchema, Seal
from esper_telemetry.storage.segment_writer import OWNER_ATTRIBUTE
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.intake import Intake
    from esper_telemetry.storage.engine import Engine
    from esper_telemetry.storage.naming import ProducerKey


_PAGE, _LONGEST_PAGE = 100, 1000
# Files are read for each run: a slow disk answers with shorter pages, not after a client's patience.
_PAGE_S = 2.0
# Room for what surrounds a summary in an answer.
_FRAMING = 16


async def list_runs(
    intake: Intake, request: collector_pb2.ListRunsRequest, tenant: Tenant
) -> collector_pb2.ListRunsResponse:
    """Return a page of the runs that `tenant` may see, by run id.

    Raises:
        Refused: files cannot be read now (STORAGE).
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    known = {producer.key.run_id for producer in intake.roster.producers.values()}
    stored = await _stored_runs(intake.engine)
    chosen = sorted(each for each in known.union(stored) if _is_shown(each, request, tenant))
    answer = collector_pb2.ListRunsResponse()
    room, limit = intake.limits.page_bytes, min(request.page_size or _PAGE, _LONGEST_PAGE)
    for run_id in chosen:
        summary = await _run(intake, run_id, room)
        if not summary.producers:
            continue  # deleted meanwhile, or not of this collector
        size = summary.ByteSize() + _FRAMING
        late = loop.time() - began > _PAGE_S
        if len(answer.runs) == limit or (answer.runs and (late or size > room)):
            answer.next_page_token = answer.runs[-1].run_id
            break
        answer.runs.append(summary)
        room -= size
    return answer


def _is_shown(run_id: str, request: collector_pb2.ListRunsRequest, tenant: Tenant) -> bool:
    mine = run_id.startswith(request.prefix) and run_id.startswith(tenant.run_prefix)
    return mine and run_id > request.page_token


async def _run(intake: Intake, run_id: str, room: int) -> collector_pb2.RunSummary:
    members = {key: each for key, each in intake.roster.producers.items() if key.run_id == run_id}
    for key in await stored_members(intake.engine, run_id):
        if key not in members:
            members[key] = await _stored(intake.engine, key)
    labels_bytes = intake.limits.labels_bytes
    return summarize_run(run_id, members.values(), room, labels_bytes)


async def _stored_runs(engine: Engine) -> list[str]:
    try:
        return await engine.runs()
    except (SinkError, OSError) as error:
        raise storage_refusal(str(error)) from error


async def _stored(engine: Engine, key: ProducerKey) -> Producer:
    """Return what the files of a producer tell, which stays out of memory."""
    restored = await restore(engine, key)
    producer = Producer(restored.lane, stored_bytes=restored.stored_bytes)
    if restored.header is not None:
        producer.schema = PutSchema(restored.header, b"")
    return producer


def summarize_run(run_id: str, members: Iterable[Producer], room: int, labels_bytes: int) -> collector_pb2.RunSummary:
    """Return the summary of a run: its producers by rank and start, as many as fit.

    Args:
        run_id: the run.
        members: its producers.
        room: bytes that the summary may take.
        labels_bytes: of each producer's labels.
    """
    summaries = [_producer(each, labels_bytes) for each in members]
    summaries.sort(key=lambda each: (each.rank, each.started_unix_nano, each.producer_id))
    headers = (each.schema.header for each in members if each.schema is not None)
    name = next((header.run_name for header in headers), "")
    run = collector_pb2.RunSummary(run_id=run_id, run_name=name, producer_count=len(summaries))
    fitting = 0
    for summary in summaries:
        room -= summary.ByteSize() + _FRAMING
        if room < 0 and fitting:
            break
        fitting += 1
    run.producers.extend(islice(summaries, fitting))
    return run


def _producer(producer: Producer, labels_bytes: int) -> collector_pb2.ProducerSummary:
    header = producer.schema.header if producer.schema is not None else None
    labels = producer.labels or (dict(header.attributes) if header else {})
    labels.pop(OWNER_ATTRIBUTE, None)
    return collector_pb2.ProducerSummary(
        producer_id=producer.key.producer_id,
        rank=header.rank if header else 0,
        stream=header.stream if header else "",
        host=header.host if header else "",
        durable_seq=producer.numbers.durable_seq,
        stored_bytes=producer.stored_bytes,
        connected=producer.listener is not None,
        outcome=collector_pb2.CloseOutcome.Name(producer.outcome),
        started_unix_nano=header.anchor_unix_nano if header else 0,
        last_seen_unix_nano=producer.last_seen_ns,
        labels=bounded_labels(labels, labels_bytes),
    )


async def delete_run(intake: Intake, run_id: str, tenant: Tenant, why: str = "on request") -> int:
    """Delete a run that has no stream and no reader; return what its record files took, bytes; the log states why.

    Raises:
        Refused: FORBIDDEN, NO_RUN, BUSY, or STORAGE where the disk refused.
    """
    check_run_id(run_id)
    tenant.check_run(run_id)
    members = [each for key, each in intake.roster.producers.items() if key.run_id == run_id]
    if run_id in intake.readers.runs or any(each.listener is not None or each.queued_bytes for each in members):
        raise Refused("BUSY", f"run {run_id} is being written or read; end its streams first")
    with intake.roster.closed(run_id):
        if run_id not in await _stored_runs(intake.engine):
            raise Refused("NO_RUN", f"there is no run {run_id!r} here; ListRuns names those that there are")
        for producer in members:
            await _seal(intake, producer)
            intake.roster.forget(producer)
        try:
            return await intake.engine.delete(run_id, why)
        except SinkError as error:
            raise storage_refusal(str(error)) from error


async def _seal(intake: Intake, producer: Producer) -> None:
    intake.engine.put(producer.lane, Seal())
    try:
        async with asyncio.timeout(_SEAL_S):
            while producer.lane.is_open:
                producer.moved.clear()
                await producer.moved.wait()
    except TimeoutError:
        raise storage_refusal(producer.lane.failed or "the disk does not answer") from None


_SEAL_S = 5.0
