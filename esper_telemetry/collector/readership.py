"""Who follows which run at a collector: bounded by tenant, and told when something of the run moved.

A run that is followed stays in memory with all its producers. What is sent to a reader is `reader`'s matter. Lives in
one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from esper_telemetry.collector.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from esper_telemetry.collector.admission import Quotas
    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.engine import Engine
    from esper_telemetry.collector.roster import Roster


class Readership:
    """The readers of all runs.

    Args:
        engine: knows the producers that are not in memory.
        roster: those in memory.
        quotas: counts readers by tenant.
    """

    def __init__(self, engine: Engine, roster: Roster, quotas: Quotas) -> None:
        self._engine = engine
        self._roster = roster
        self._quotas = quotas
        self._watchers: dict[str, set[asyncio.Event]] = {}

    @property
    def runs(self) -> Collection[str]:
        """The runs that somebody follows."""
        return self._watchers.keys()

    def moved(self, run_id: str) -> None:
        """Tell the readers of a run that something of it moved."""
        for watcher in self._watchers.get(run_id, ()):
            watcher.set()

    async def pace(self, tenant: Tenant, size: int) -> None:
        """Wait until a tenant may be sent more, and count what it is sent then, bytes."""
        now = asyncio.get_running_loop().time
        await self._quotas.wait_turn(tenant, now, "out")
        self._quotas.rate(tenant, "out").take(size, now())

    @contextlib.asynccontextmanager
    async def following(self, run_id: str, tenant: Tenant) -> AsyncIterator[asyncio.Event]:
        """Hold a run in memory, and give an event that is set whenever something of it moved.

        Raises:
            Refused: as many readers are there as may be (STREAMS), there is no such run, or the disk refused.
        """
        self._quotas.check_reader(tenant)
        self._quotas.readers[tenant.name] += 1
        event = asyncio.Event()
        watchers = self._watchers.setdefault(run_id, set())
        watchers.add(event)
        try:
            for key in await self._engine.members(run_id):
                producer = await self._roster.enter(key)
                producer.left_at = producer.left_at or asyncio.get_running_loop().time()
            if not self._roster.of_run(run_id):
                raise Refused("NO_RUN", f"run {run_id!r} has nothing stored; ListRuns names those that have")
            yield event
        finally:
            self._quotas.readers[tenant.name] -= 1
            watchers.discard(event)
            if not watchers:
                self._watchers.pop(run_id, None)
