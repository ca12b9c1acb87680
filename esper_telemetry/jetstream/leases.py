"""Which partitions a consumer takes and which it lets go. Pure.

Every consumer that is alive has a share; the shares differ by one at most and make up all partitions. A
consumer takes only what nobody alive has, and lets go what is over its share, so all come to rest in a few
rounds. That two may believe they have a partition is no danger: the watermark decides (producerstate).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from esper_telemetry.errors import CorruptRecordError, TelemetryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


class LostError(TelemetryError):
    """Another consumer has it now, a partition or a producer."""


class Lease(NamedTuple):
    """Who has a partition, as it stands in the bucket.

    Attributes:
        consumer: its id; empty where nobody has it.
        generation: +1 for each owner.
    """

    consumer: str
    generation: int

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Lease:
        """Return what `to_bytes` was called on.

        Raises:
            CorruptRecordError: the bytes are something else.
        """
        try:
            said = json.loads(data)
            return cls(str(said["consumer"]), int(said["generation"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError(f"{data[:200]!r} is no lease: {error!r}") from None


def lease_key(partition: int) -> str:
    """Return the name of a partition's lease in the bucket."""
    return f"lease.{partition}"


class LeaseDecision(NamedTuple):
    """What a consumer does next.

    Attributes:
        take: partitions to take.
        release: partitions to let go.
    """

    take: list[int]
    release: list[int]


def share_of(me: str, alive: AbstractSet[str], partitions: int) -> int:
    """Return how many partitions `me` should have, of those that are alive."""
    everybody = sorted(alive | {me})
    least, more = divmod(partitions, len(everybody))
    return least + (everybody.index(me) < more)


def decide(me: str, alive: AbstractSet[str], owners: Mapping[int, str]) -> LeaseDecision:
    """Return what consumer `me` does.

    Args:
        me: its id.
        alive: ids of those that are heard of.
        owners: by partition, who has it; empty where nobody has.
    """
    share = share_of(me, alive, len(owners))
    mine = sorted(partition for partition, owner in owners.items() if owner == me)
    free = [partition for partition, owner in owners.items() if owner != me and owner not in alive]
    # Each has an order of its own, so that two that see the same free partitions seldom reach for the same.
    free.sort(key=lambda partition: crc32(f"{me}/{partition}".encode()))
    return LeaseDecision(free[: max(share - len(mine), 0)], mine[share:])
