"""Leases of partitions: which ones a consumer acquires, which it has lost, and which it releases. Pure.

Shares of live consumers differ by one at most and make up all partitions. A consumer acquires only what no live
consumer owns, and releases what is over its share, so the assignment settles in a few rounds. Two consumers that
believe they own a partition do no harm: the watermark decides (`producer_state`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from esper_telemetry.errors import CorruptRecordError, TelemetryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet


class LostError(TelemetryError):
    """The lease is lost: another consumer owns the partition or the producer now."""


class Lease(NamedTuple):
    """The owner of a partition, as the bucket has it.

    Attributes:
        consumer: id of the owner; empty where there is none.
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
            fields = json.loads(data)
            return cls(str(fields["consumer"]), int(fields["generation"]))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError(f"{data[:200]!r} is no lease: {error!r}") from None


def lease_key(partition: int) -> str:
    """Return the name of a partition's lease in the bucket."""
    return f"lease.{partition}"


class LeaseDecision(NamedTuple):
    """What a consumer does next.

    Attributes:
        take: partitions to acquire.
        release: partitions to release.
    """

    take: list[int]
    release: list[int]


def share_of(me: str, alive: AbstractSet[str], partitions: int) -> int:
    """Return how many partitions `me` should have, of those that are alive."""
    consumers = sorted(alive | {me})
    least, more = divmod(partitions, len(consumers))
    return least + (consumers.index(me) < more)


def decide(me: str, alive: AbstractSet[str], owners: Mapping[int, str]) -> LeaseDecision:
    """Return what consumer `me` does.

    Args:
        me: its id.
        alive: ids of those that are heard of.
        owners: id of the owner by partition; empty where there is none.
    """
    share = share_of(me, alive, len(owners))
    mine = sorted(partition for partition, owner in owners.items() if owner == me)
    free = [partition for partition, owner in owners.items() if owner != me and owner not in alive]
    # Each has an order of its own, so that two that see the same free partitions seldom reach for the same.
    free.sort(key=lambda partition: crc32(f"{me}/{partition}".encode()))
    return LeaseDecision(free[: max(share - len(mine), 0)], mine[share:])


def lost(me: str, held: Iterable[int], owners: Mapping[int, str]) -> list[int]:
    """Return the partitions that consumer `me` works on although the bucket has another owner for them, or none.

    Args:
        me: its id.
        held: partitions it works on.
        owners: id of the owner by partition; empty where there is none.
    """
    return [partition for partition in held if owners[partition] != me]
