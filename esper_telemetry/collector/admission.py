"""Who is let in: what a Hello must say, and what a tenant may take. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from esper_telemetry.collector.limits import PROTOCOL, TokenBucket
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.limits import Limits

_STREAMS_RETRY_MS = 2000
_BYTES_RETRY_MS = 60_000


def check_hello(hello: collector_pb2.Hello, limits: Limits) -> None:
    """Check size, protocol and codecs of a Hello.

    Raises:
        Refused: TOO_BIG or PROTOCOL.
    """
    size = hello.ByteSize()
    if size > limits.hello_bytes:
        raise Refused("TOO_BIG", f"the Hello has {size:,} bytes; at most {limits.hello_bytes:,}")
    if not hello.min_protocol <= PROTOCOL <= hello.max_protocol:
        said = f"{hello.min_protocol} to {hello.max_protocol}"
        raise Refused("PROTOCOL", f"the client speaks protocol {said}, this collector {PROTOCOL}; update the older one")
    if hello.codecs and collector_pb2.CODEC_ZSTD not in hello.codecs:
        raise Refused("PROTOCOL", "the client does not send CODEC_ZSTD, the one this collector takes")


class Quotas:
    """What tenants have taken.

    Args:
        limits: what the collector takes from all together.

    Attributes:
        streams: open streams by tenant.
        run_bytes: stored bytes by run.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rates: dict[Tenant, TokenBucket] = {}
        self.streams: Counter[str] = Counter()
        self.run_bytes: Counter[str] = Counter()

    def check_stream(self, run_id: str, tenant: Tenant) -> None:
        """Check that one more stream may be opened for a run.

        Raises:
            Refused: STREAMS or QUOTA.
        """
        mine, full = self.streams[tenant.name], self.streams.total() >= self._limits.streams
        if full or (tenant.max_streams and mine >= tenant.max_streams):
            message = (
                f"{self.streams.total():,} streams are open, {mine:,} of {tenant.name}: no more may be; come back later"
            )
            raise Refused("STREAMS", message, retry_after_ms=_STREAMS_RETRY_MS)
        self.check_bytes(run_id, tenant)

    def check_bytes(self, run_id: str, tenant: Tenant) -> None:
        """Check that a run may store more.

        Raises:
            Refused: QUOTA.
        """
        stored = self.run_bytes[run_id]
        if tenant.max_run_bytes and stored >= tenant.max_run_bytes:
            message = (
                f"run {run_id} has {stored:,} bytes stored, {tenant.name} may have {tenant.max_run_bytes:,} of each"
            )
            raise Refused("QUOTA", message, retry_after_ms=_BYTES_RETRY_MS)

    def rate(self, tenant: Tenant) -> TokenBucket:
        """Return the payload rate that the streams of a tenant share."""
        bucket = self._rates.get(tenant)
        if bucket is None:
            bucket = self._rates[tenant] = TokenBucket(tenant.bytes_per_s)
        return bucket
