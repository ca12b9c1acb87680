"""Quotas: what a Hello must state, and how many streams, readers and bytes a tenant may take."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from esper_telemetry.collector.refusal import Refused
from esper_telemetry.v1 import collector_pb2
from esper_telemetry.wire import PROTOCOL, TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.limits import CollectorLimits


_STREAMS_RETRY_MS = 2000
_BYTES_RETRY_MS = 60_000
_LONGEST_SLEEP_S = 1.0  # a rate that is raised meanwhile is noticed


def check_hello(hello: collector_pb2.Hello, limits: CollectorLimits) -> None:
    """Check size, protocol and codecs of a Hello.

    Raises:
        Refused: TOO_BIG or PROTOCOL.
    """
    size = hello.ByteSize()
    if size > limits.hello_bytes:
        raise Refused("TOO_BIG", f"the Hello has {size:,} bytes; at most {limits.hello_bytes:,}")
    if not hello.min_protocol <= PROTOCOL <= hello.max_protocol:
        span = f"{hello.min_protocol} to {hello.max_protocol}"
        raise Refused("PROTOCOL", f"the client speaks protocol {span}, this collector {PROTOCOL}; update the older one")
    if hello.codecs and collector_pb2.CODEC_ZSTD not in hello.codecs:
        raise Refused("PROTOCOL", "the client does not send CODEC_ZSTD, the one this collector takes")


class Quotas:
    """What tenants have taken; streams and readers are given back by the name that took them.

    Args:
        limits: what the collector takes from all together.

    Attributes:
        streams: open streams by tenant.
        readers: live readers by tenant.
    """

    def __init__(self, limits: CollectorLimits) -> None:
        self._limits = limits
        self._rates: dict[tuple[str, str], TokenBucket] = {}
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self.streams: Counter[str] = Counter()
        self.readers: Counter[str] = Counter()

    def check_stream(self, tenant: Tenant) -> None:
        """Check that one more stream may be opened.

        Raises:
            Refused: STREAMS.
        """
        self._check_count("streams are open", self.streams, tenant, tenant.max_streams, self._limits.streams)

    def check_reader(self, tenant: Tenant) -> None:
        """Check that one more live reader may connect.

        Raises:
            Refused: STREAMS.
        """
        self._check_count("readers are connected", self.readers, tenant, tenant.max_readers, self._limits.readers)

    def check_bytes(self, run_id: str, stored: int, tenant: Tenant) -> None:
        """Check that a run may store more than the `stored` bytes that it has.

        Raises:
            Refused: QUOTA.
        """
        if tenant.max_run_bytes and stored >= tenant.max_run_bytes:
            message = (
                f"run {run_id} has {stored:,} bytes stored, {tenant.name} may have {tenant.max_run_bytes:,} of each"
            )
            raise Refused("QUOTA", message, retry_after_ms=_BYTES_RETRY_MS)

    def check_runs(self, runs: int, tenant: Tenant) -> None:
        """Check that there may be as many runs as there are with the one that begins.

        Raises:
            Refused: QUOTA.
        """
        if tenant.max_runs and runs > tenant.max_runs:
            message = f"{tenant.name} has {runs - 1:,} runs stored and may have {tenant.max_runs:,}: delete some"
            raise Refused("QUOTA", message, retry_after_ms=_BYTES_RETRY_MS)

    def rate(self, tenant: Tenant, direction: str = "in") -> TokenBucket:
        """Return the payload rate that all calls of a tenant share, one for what comes and one for what is read."""
        bucket = self._rates.setdefault((tenant.name, direction), TokenBucket(tenant.bytes_per_s))
        bucket.rate = tenant.bytes_per_s
        return bucket

    async def wait_turn(self, tenant: Tenant, now: Callable[[], float], direction: str = "in") -> None:
        """Wait until what a tenant took before is paid for. All its calls wait in one row, so a crowd gets no more."""
        bucket = self.rate(tenant, direction)
        if not bucket.rate:
            return
        async with self._turns.setdefault((tenant.name, direction), asyncio.Lock()):
            while (debt := bucket.debt(now())) > 0:  # noqa: ASYNC110 - time pays the debt, nothing sets an event
                await asyncio.sleep(min(debt, _LONGEST_SLEEP_S))

    def _check_count(self, what: str, taken: Counter[str], tenant: Tenant, own: int, limit: int) -> None:
        mine, total = taken[tenant.name], taken.total()
        if total >= limit or (own and mine >= own):
            message = f"{total:,} {what}, {mine:,} of {tenant.name}: no more may be; come back later"
            raise Refused("STREAMS", message, retry_after_ms=_STREAMS_RETRY_MS)
