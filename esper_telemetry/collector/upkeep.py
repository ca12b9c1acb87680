"""What is done to stored runs beside the streams: files are looked for, deleted for their age, deleted on request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esper_telemetry.collector.identity import check_run_id
from esper_telemetry.collector.items import Expire, Inspect, Seal
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.roster import storage_refusal
from esper_telemetry.errors import SinkError

if TYPE_CHECKING:
    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.intake import Intake
    from esper_telemetry.collector.producer import Producer

_SEAL_S = 5.0


def inspect(intake: Intake) -> None:
    """Have the files looked for that open streams have been told are durable."""
    for producer in intake.roster.producers.values():
        if producer.listener is not None and producer.lane.published:
            intake.engine.put(producer.lane, Inspect())


async def expire(intake: Intake, before: float) -> None:
    """Delete segments last written before `before` (wall clock, seconds), but the last one of each producer."""
    for producer in intake.roster.producers.values():
        if len(producer.lane.published) > 1:
            intake.engine.put(producer.lane, Expire(before))
    for run_id, sizes in await intake.engine.expire(before):
        intake.count_expired(sizes)
        intake.roster.give_back(run_id, sum(sizes))


async def delete_run(intake: Intake, run_id: str, tenant: Tenant) -> int:
    """Delete a run that nobody writes or reads; return what its record files took, bytes.

    Raises:
        Refused: FORBIDDEN, NO_RUN, BUSY, or STORAGE where the disk refused.
    """
    check_run_id(run_id)
    tenant.check_run(run_id)
    members = [each for key, each in intake.roster.producers.items() if key.run_id == run_id]
    if run_id in intake.readers.runs or any(each.listener is not None or each.queued_bytes for each in members):
        raise Refused("BUSY", f"run {run_id} is being written or read; end its streams first")
    with intake.roster.closed(run_id):
        if run_id not in await intake.engine.runs():
            raise Refused("NO_RUN", f"there is no run {run_id!r} here; ListRuns names those that there are")
        for producer in members:
            await _seal(intake, producer)
            intake.roster.forget(producer)
        try:
            return await intake.engine.delete(run_id)
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
