"""A connection to NATS JetStream: publish, compare-and-set, pull. With `nats_client` the one that imports nats.

It knows no producer and decides nothing. A PubAck is not trusted: with their leader killed, servers before 2.10.23 lose
messages that they had acked. So a publish reports refusals only, and the watermark in the bucket counts. Errors of the
client library end here: SinkError means "not now, try again".
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.errors import ConfigError, MissingExtraError, SinkError
from esper_telemetry.jetstream.entries import LEAST_PAYLOAD
from esper_telemetry.jetstream.fast_ingest import FastIngest
from esper_telemetry.jetstream.leases import LostError
from esper_telemetry.jetstream.nats_client import START_S, log_client
from esper_telemetry.jetstream.pull import Pull

try:
    from nats.errors import Error as NatsError
    from nats.js.api import (
        AckPolicy,
        ConsumerConfig,
        DeliverPolicy,
        DiscardPolicy,
        RetentionPolicy,
        StorageType,
        StreamConfig,
    )
    from nats.js.errors import (
        APIError,
        KeyNotFoundError,
        KeyWrongLastSequenceError,
        NoStreamResponseError,
        NotFoundError,
        ServiceUnavailableError,
    )
except ImportError as error:
    raise MissingExtraError("nats-py", "nats") from error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from nats.aio.msg import Msg

    from esper_telemetry.jetstream.deployment import LogSettings

LOG = logging.getLogger("esper_telemetry.collector")

_MESSAGES = "messages"
_CALL_S = 3.0
_AGAIN_S = 0.5
_PROGRESS_S = 5.0
# How servers 2.12 and 2.13 answer a configuration with a field that they do not know.
_UNKNOWN_FIELD = 10025
# A message that its consumer does not ack in time is delivered again. Cycles take milliseconds, a stuck disk longer.
_ACK_WAIT_S = 10.0
_ACK_PENDING = 4096


class BucketEntry(NamedTuple):
    """A value of the bucket.

    Attributes:
        value: its bytes.
        revision: what a compare-and-set compares.
    """

    value: bytes
    revision: int


class Fill(NamedTuple):
    """How full the stream is.

    Attributes:
        messages: in it.
        bytes: in it.
        max_bytes: that it takes; 0 where there is no limit.
    """

    messages: int
    bytes: int
    max_bytes: int


class JetStream:
    """A connection to the log.

    Args:
        settings: where it is.
        name: shown in the servers' monitoring.
        failures: where messages whose callback raised are recorded.

    Attributes:
        settings: as given.
        partitions: of the stream, known after `open`.
        batched: whether the stream takes fast-ingest batches, known after `open`.
        refused: the last error with which the stream refused a message; empty if it never did.
        refused_since: time of the first refusal after the last message that it took; None if it took that one.
        refused_at: time of the last refusal.
        refusals: how often it did not take a message.
        connects: how often a lost connection was made anew; what was asked for before will not be answered.
        acked: messages that it acked.
        answers: in which it did.
    """

    def __init__(self, settings: LogSettings, name: str, failures: TaskFailures | None = None) -> None:
        self.settings = settings
        self._failures = failures or TaskFailures(LOG)
        self.partitions = 0
        self.batched = False
        self.refused = ""
        self.refused_since: float | None = None
        self.refused_at = 0.0
        self.refusals = self.acked = self.answers = self.connects = 0
        self._ingest: FastIngest | None = None
        self._name = name
        self._nc: Any = None
        self._js: Any = None
        self._kv: Any = None
        self._inbox = ""

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and make stream and bucket where they are missing.

        Raises:
            ConfigError: no server can be reached, or what is there does not fit.
        """
        shown = self.settings.shown
        LOG.info("waiting for a server of the log at %s, for at most %g s", shown, START_S)
        self._nc = log_client(self.settings, self._reconnected)
        await self._nc.start(self._name)
        LOG.info("waiting for stream and bucket of the log at %s, for at most %g s", shown, START_S)
        self._js = self._nc.jetstream(timeout=_CALL_S)
        try:
            await self._make_in_time()
        except BaseException:
            await self._nc.close()
            raise
        self._inbox = self._nc.new_inbox()
        await self.subscribe(self._inbox, self._acknowledged)
        if self.batched:
            inbox = self._nc.new_inbox()
            await self.subscribe(f"{inbox}.>", self._ingested)
            self._ingest = FastIngest(inbox, lambda: secrets.token_hex(8))

    async def close(self) -> None:
        """Send what is waiting and disconnect."""
        if self._nc is not None and not self._nc.is_closed:
            with suppress(NatsError, TimeoutError, OSError):
                await asyncio.wait_for(self._nc.flush(), _CALL_S)
            await self._nc.close()

    @property
    def last_error(self) -> str:
        """What the servers or the client library last complained of; empty before, and once reconnected."""
        return str(self._nc.complaint) if self._nc is not None else ""

    @property
    def connected(self) -> bool:
        """Whether a server is connected right now."""
        return self._nc is not None and bool(self._nc.is_connected)

    @property
    def closed(self) -> str:
        """Why no server will be connected again, the client library having closed itself; empty while one may be."""
        if self._nc is None or not self._nc.is_closed:
            return ""
        return f"the connection to the log is closed for good: {self.last_error or 'no reason is known'}"

    @property
    def max_payload(self) -> int:
        """Longest message that the servers take, bytes."""
        return int(self._nc.max_payload)

    # --- messages -----------------------------------------------------------------------------------------------------

    async def publish(self, subject: str, data: bytes) -> None:
        """Send an entry; it waits only while the socket is full. Whether it arrived, a watermark will show.

        Raises:
            SinkError: it was not even sent.
        """
        async with _translated("publish"):
            reply = self._ingest and self._ingest.reply(asyncio.get_running_loop().time())
            await self._nc.publish(subject, data, reply=reply or self._inbox)

    async def send(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send a message that the log does not keep.

        Raises:
            SinkError: it was not sent.
        """
        async with _translated("publish"):
            await self._nc.publish(subject, data, reply=reply)

    async def subscribe(self, subject: str, heard: Callable[[Msg], Awaitable[None]]) -> None:
        """Have `heard` called with every message of `subject` from now on.

        Raises:
            SinkError: there is no connection.
        """
        async with _translated("subscribe"):
            await self._subscribe(subject, heard)

    async def _subscribe(self, subject: str, heard: Callable[[Msg], Awaitable[None]]) -> Any:
        """Subscribe; the client library would keep an error of the callback to itself."""

        async def guarded(message: Msg) -> None:
            try:
                await heard(message)
            except Exception as error:  # noqa: BLE001 - whatever one message met, the next one is taken
                self._failures.happened(_MESSAGES, error)

        self._failures.declare(_MESSAGES)
        return await self._nc.subscribe(subject, cb=guarded, pending_bytes_limit=-1, pending_msgs_limit=-1)

    async def _reconnected(self) -> None:
        self.connects += 1
        if self._ingest is not None:
            self._ingest.end()

    async def _acknowledged(self, message: Msg) -> None:
        """Take the answer to one message."""
        if message.data and b'"error"' not in message.data:
            self._took(1)
            return
        error = json.loads(message.data).get("error", {}) if message.data else {"description": "no stream answers"}
        self._refuse(str(error.get("description", error)))

    async def _ingested(self, message: Msg) -> None:
        """Take an answer to messages of a batch."""
        assert self._ingest is not None  # noqa: S101 - subscribed to after it was made
        answer = self._ingest.answered(message.subject, message.data, asyncio.get_running_loop().time())
        if answer.acked:
            self._took(answer.acked)
        if answer.refused:
            self._refuse(answer.refused)

    def _took(self, messages: int) -> None:
        self.acked += messages
        self.answers += 1
        self.refused_since = None

    def _refuse(self, why: str) -> None:
        self.refused = why
        self.refusals += 1
        self.refused_at = asyncio.get_running_loop().time()
        self.refused_since = self.refused_since or self.refused_at

    # --- the bucket ---------------------------------------------------------------------------------------------------

    async def get(self, key: str) -> BucketEntry | None:
        """Return a value of the bucket; None if there is none.

        Raises:
            SinkError: not now.
        """
        async with _translated("read the bucket"):
            try:
                entry = await self._kv.get(key)
            except KeyNotFoundError:
                return None
            return BucketEntry(entry.value or b"", int(entry.revision))

    async def put(self, key: str, value: bytes) -> None:
        """Set a value whatever was there.

        Raises:
            SinkError: not now; it may have happened.
        """
        async with _translated("write the bucket"):
            await self._kv.put(key, value)

    async def swap(self, key: str, value: bytes, revision: int) -> int | None:
        """Set a value if its revision is still `revision` (0: there is none).

        Returns:
            The new revision; None where another one is there.

        Raises:
            SinkError: not now; it may have happened.
        """
        async with _translated("write the bucket"):
            try:
                return int(await self._kv.update(key, value, last=revision))
            except KeyWrongLastSequenceError:
                return None

    # --- the stream ---------------------------------------------------------------------------------------------------

    async def fill(self) -> Fill:
        """Return how full the stream is.

        Raises:
            SinkError: it does not answer.
        """
        async with _translated("ask for the stream"):
            info = await self._js.stream_info(self.settings.names.stream)
            return Fill(info.state.messages, info.state.bytes, max(info.config.max_bytes or 0, 0))

    async def pull(self, partition: int, generation: int) -> Pull:
        """Begin to take the messages of a partition, from the first that is not acked; the consumer before is deleted.

        Raises:
            LostError: an owner with a later generation takes them.
            SinkError: not now.
        """
        stream, mine = self.settings.names.stream, f"p{partition}-g"
        own = f"{mine}{generation}"
        async with _translated("make a consumer"):
            for known in await self._js.consumers_info(stream):
                if known.name.startswith(mine) and known.name != own:
                    if int(known.name.removeprefix(mine)) > generation:
                        raise LostError(f"partition {partition} is taken by another consumer: consumer {known.name}")
                    await self._js.delete_consumer(stream, known.name)
            await self._js.add_consumer(
                stream,
                ConsumerConfig(
                    durable_name=own,
                    deliver_policy=DeliverPolicy.ALL,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=_ACK_WAIT_S,
                    max_ack_pending=_ACK_PENDING,
                    filter_subject=self.settings.names.partition(partition),
                ),
            )
            inbox = self._nc.new_inbox()
            pull = Pull(self.send, lambda: self.connects, stream, own, inbox)
            subscription = await self._subscribe(inbox, pull.heard)
            pull.on_close(subscription.unsubscribe)
            return pull

    async def _make_in_time(self) -> None:
        """Make what is missing; a cluster that elects a leader is given time."""
        settings = self.settings
        if self._nc.max_payload < LEAST_PAYLOAD:
            raise ConfigError(
                f"{settings.shown}: max_payload is {self._nc.max_payload:,} bytes; a frame needs {LEAST_PAYLOAD:,}:"
                " raise it in the servers' configuration"
            )
        began = logged_at = asyncio.get_running_loop().time()
        while True:
            try:
                return await self._make()
            except (NatsError, TimeoutError) as error:
                unanswered = isinstance(error, (TimeoutError, ServiceUnavailableError, NoStreamResponseError))
                now = asyncio.get_running_loop().time()
                if not unanswered or now > began + START_S:
                    asked = f"is JetStream on, with {settings.replicas} servers?"
                    raise ConfigError(f"{settings.shown}: {error}; {asked}") from error
                if now > logged_at + _PROGRESS_S:
                    logged_at, reason = now, _missing(error)
                    LOG.info("waiting for the log at %s since %.0f s: %s", settings.shown, now - began, reason)
            await asyncio.sleep(_AGAIN_S)

    async def _make(self) -> None:
        names = self.settings.names
        try:
            info = await self._js.stream_info(names.stream)
        except NotFoundError:
            info = await self._add_stream(_stream(self.settings))
        try:
            self._kv = await self._js.key_value(names.bucket)
        except NotFoundError:
            replicas = self.settings.replicas
            self._kv = await self._js.create_key_value(
                bucket=names.bucket, history=1, replicas=replicas, storage=StorageType.FILE, direct=False
            )
        self._check(info.config)
        self.partitions = len(info.config.subjects or ())
        # The request proves nothing: servers before 2.12 answer "created", and leave the field out.
        self.batched = bool(info.config.allow_batched)

    async def _add_stream(self, wanted: StreamConfig) -> Any:
        try:
            return await self._js.add_stream(wanted)
        except APIError as error:
            if error.err_code != _UNKNOWN_FIELD:
                raise
            wanted.allow_batched = None
            return await self._js.add_stream(wanted)

    def _check(self, config: StreamConfig) -> None:
        """Refuse a stream of that name which would lose what it took."""
        wanted = _stream(self.settings)
        for name in ("retention", "discard", "storage"):
            if getattr(config, name) != getattr(wanted, name):
                raise ConfigError(
                    f"stream {config.name}: {name} is {getattr(config, name)}, it must be {getattr(wanted, name)}:"
                    " remove the stream, or choose another --log-name"
                )


def _stream(settings: LogSettings) -> StreamConfig:
    """Return the stream: acked messages are removed, and a full one refuses instead of dropping the oldest."""
    return StreamConfig(
        name=settings.names.stream,
        subjects=[settings.names.partition(number) for number in range(settings.partitions)],
        retention=RetentionPolicy.WORK_QUEUE,
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        num_replicas=settings.replicas,
        max_bytes=settings.max_bytes,
        allow_batched=True,
    )


def _missing(error: Exception) -> str:
    """Return what the servers lack, by the answer that did not come."""
    if isinstance(error, ServiceUnavailableError):
        return f"JetStream has no leader, or too few servers: {error}"
    return "JetStream is off, or most servers are not there: no answer"


@asynccontextmanager
async def _translated(what: str) -> AsyncIterator[None]:
    """Turn the client library's errors into SinkError."""
    try:
        yield
    except (NatsError, APIError, TimeoutError, OSError) as error:
        raise SinkError(f"JetStream: cannot {what}: {error!r}") from error
