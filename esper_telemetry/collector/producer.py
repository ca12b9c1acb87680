"""What a running collector knows of one producer and of one stream of it. Data, and the one interface of streams."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.engine import Lane
    from esper_telemetry.collector.frames import FrameCheck
    from esper_telemetry.collector.identity import ProducerKey
    from esper_telemetry.collector.items import PutSchema
    from esper_telemetry.collector.refusal import Refused
    from esper_telemetry.collector.session import Ledger, Session


class Listener(Protocol):
    """A stream, as the intake sees it."""

    def stop(self, refused: Refused) -> None:
        """End the stream with this error."""

    def progressed(self) -> None:
        """Something became durable, or is known to be lost on its way."""


@dataclass(slots=True, eq=False)
class Producer:
    """What a running collector knows of one producer.

    Attributes:
        lane: its way through the engine.
        ledger: its numbers.
        listener: its open stream.
        schema: the last Schema; its header names stream, rank and host.
        fingerprint: of that schema.
        outcome: of its Close; a restart forgets it.
        labels: of the last Hello.
        last_seen_ns: wall clock of the last stream's start or end, ns since 1970 UTC.
        stored_bytes: of its segments.
        queued_bytes: on their way to them.
        tenant: name of the tenant whose stream is open; None while none is.
        left_at: when the last stream ended, on the loop's clock; None while one is open, or there was none.
        sealing: its segment is to be sealed though no Close came.
        moved: set whenever a cycle reported on it.
    """

    lane: Lane
    ledger: Ledger
    listener: Listener | None = None
    schema: PutSchema | None = None
    fingerprint: bytes = b""
    outcome: int = collector_pb2.CLOSE_OUTCOME_UNSPECIFIED
    labels: dict[str, str] = field(default_factory=dict)
    last_seen_ns: int = 0
    stored_bytes: int = 0
    queued_bytes: int = 0
    tenant: str | None = None
    left_at: float | None = None
    sealing: bool = False
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> ProducerKey:
        """Its run and id."""
        return self.lane.key


@dataclass(slots=True, eq=False)
class Admission:
    """A stream that was let in.

    Attributes:
        producer: whose it is.
        session: its state.
        tenant: who called.
        welcome: the answer to its Hello.
        check: looks at its frames.
    """

    producer: Producer
    session: Session
    tenant: Tenant
    welcome: collector_pb2.Welcome
    check: FrameCheck


def bounded_labels(labels: dict[str, str], limit: int) -> dict[str, str]:
    """Return as many labels as take `limit` bytes of text, in the order of their names; more are not kept."""
    kept: dict[str, str] = {}
    for name in sorted(labels):
        limit -= len(name.encode()) + len(labels[name].encode())
        if limit < 0:
            break
        kept[name] = labels[name]
    return kept
