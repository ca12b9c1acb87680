"""What each tenant uses: streams and readers that are open, runs and bytes that are stored.

Runs belong to a tenant by its `run_prefix`, as its quotas count them; without a token file all belong to `everybody`.
What is stored is read from the file system, which takes time with many runs: so seldom that it costs 1 % of a core.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esper_telemetry.collector.auth import EVERYBODY

if TYPE_CHECKING:
    from esper_telemetry.collector.auth import Tenant, TokenFile
    from esper_telemetry.collector.intake import Intake
    from esper_telemetry.collector.metrics import Metrics

LIMITS = ("max_streams", "max_readers", "max_runs", "max_run_bytes", "bytes_per_s")
"""The quotas of a Tenant that are shown, by their names in the token file."""

_STORED_S = 30.0
_SHARE = 100.0


class TenantUsage:
    """Keeps the metrics by tenant true.

    Args:
        intake: what is open and stored.
        tokens: the tenants.
        metrics: where it is shown.
    """

    def __init__(self, intake: Intake, tokens: TokenFile, metrics: Metrics) -> None:
        self._intake = intake
        self._tokens = tokens
        self._metrics = metrics
        self._weigh_at = 0.0
        self._limits: set[tuple[str, str]] = set()

    def show(self) -> list[Tenant]:
        """Show what is open; tenants that have stored nothing yet, or are not looked at yet, have 0. Return them."""
        grants = self._tokens.grants
        tenants = list(grants.tenants.values()) if grants is not None else [EVERYBODY]
        self._metrics.know_tenants(tenant.name for tenant in tenants)
        for tenant in tenants:
            streams, readers = self._intake.usage(tenant.name)
            self._metrics.tenant_streams.labels(tenant.name).set(streams)
            self._metrics.tenant_readers.labels(tenant.name).set(readers)
        self._show_limits(tenants)
        return tenants

    def _show_limits(self, tenants: list[Tenant]) -> None:
        granted = {(tenant.name, name): float(getattr(tenant, name)) for tenant in tenants for name in LIMITS}
        granted = {labels: amount for labels, amount in granted.items() if amount}
        for labels, amount in granted.items():
            self._metrics.tenant_limit.labels(*labels).set(amount)
        for labels in self._limits - granted.keys():
            self._metrics.tenant_limit.remove(*labels)
        self._limits = set(granted)

    async def look(self) -> None:
        """Look at what is open, and at what is stored where that is due."""
        tenants = self.show()
        loop = asyncio.get_running_loop()
        began = loop.time()
        if began >= self._weigh_at:
            await self._weigh(tenants)
            now = loop.time()
            self._weigh_at = now + max(_STORED_S, _SHARE * (now - began))

    async def _weigh(self, tenants: list[Tenant]) -> None:
        stock = [(run.run_id, run.size) for run in await self._intake.engine.weigh()]
        for tenant in tenants:
            mine = [size for run_id, size in stock if run_id.startswith(tenant.run_prefix)]
            self._metrics.tenant_stored_runs.labels(tenant.name).set(len(mine))
            self._metrics.tenant_stored_bytes.labels(tenant.name).set(sum(mine))
