"""What each tenant uses is shown from the start, follows what it does, and ends with the tenant."""

from __future__ import annotations

import asyncio

from esper_telemetry.collector.auth import TokenFile
from esper_telemetry.collector.usage import TenantUsage
from tests.esper_telemetry.collector.publisher import Produced
from tests.esper_telemetry.collector.test_intake import connect, running, send
from tests.esper_telemetry.collector.test_producers import fill

TOKENS = '[tenant.vision]\nrun_prefix = "vision-"\nmax_streams = 7\n[tenant.language]\nrun_prefix = "language-"\n'


def shown(intake) -> dict[str, float]:
    lines = intake._metrics.render("")[0].decode().splitlines()
    told = (
        line.rpartition(" ") for line in lines if line.startswith("esper_collector_tenant_") and "_created" not in line
    )
    return {name.removeprefix("esper_collector_tenant_"): float(value) for name, _, value in told}


def test_usage_is_shown_by_tenant(tmp_path):
    async def scenario():
        path = tmp_path / "tokens.toml"
        path.write_text(TOKENS)
        tokens = TokenFile(path)
        tenant = tokens.grants.tenants["vision"]
        async with running(tmp_path / "store") as intake:
            usage = TenantUsage(intake, tokens, intake._metrics)
            await usage.look()
            assert shown(intake)['received_bytes_total{tenant="vision"}'] == 0
            assert shown(intake)['stored_runs{tenant="language"}'] == 0
            await fill(intake, Produced(run_id="vision-1"))
            produced = Produced(run_id="vision-2")
            admission, listener = await connect(intake, produced, tenant=tenant)
            send(intake, admission, produced.schema, *produced.batches)
            await listener.until(lambda: admission.session.done)
            usage._weigh_at = 0.0
            await usage.look()
            now = shown(intake)
            assert now['received_bytes_total{tenant="vision"}'] == sum(map(len, produced.raw))
            assert now['accepted_events_total{tenant="vision"}'] == 100
            assert now['streams{tenant="vision"}'] == 1
            assert now['stored_runs{tenant="vision"}'] == 2
            sizes = [path.stat().st_size for path in (tmp_path / "store").glob("vision-*/*")]
            assert now['stored_bytes{tenant="vision"}'] == sum(sizes)
            assert now['stored_bytes{tenant="language"}'] == 0
            assert now['limit{limit="max_streams",tenant="vision"}'] == 7
            assert not [name for name in now if name.startswith("limit{") and "language" in name]
            path.write_text(TOKENS.partition("[tenant.language]")[0].replace("7", "0"))
            assert tokens.refresh()
            await usage.look()
            assert not [name for name in shown(intake) if "language" in name or name.startswith("limit{")]

    asyncio.run(scenario())
