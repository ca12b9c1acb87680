"""One Publish stream: reads messages, writes acks, ends with the right status. A thin shell on the intake.

Two tasks: the reader takes messages one by one, the writer sends what is owed. A stream that is
told to stop (fenced, silent, disk, drain) ends with that refusal; a drain first lets what was
taken become durable and acks it. A client that does not read its acks blocks its own writer only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from grpc import aio

from esper_telemetry.collector.light_event import LightEvent
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.v1 import collector_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.collector.auth import Tenant
    from esper_telemetry.collector.intake import Intake
    from esper_telemetry.collector.producers import Admission

LOG = logging.getLogger("esper_telemetry.collector")

# Last words to a client that does not read.
_LAST_WRITE_S = 2.0
_LONGEST_PAUSE_S = 5.0


class PublishStream:
    """One stream.

    Args:
        context: the call, as grpc.aio gives it.
        intake: where messages go.
        tenant: who calls.
        on_owing: called when an ack will be due later; `poke` then sends it.
    """

    def __init__(self, context: Any, intake: Intake, tenant: Tenant, on_owing: Callable[[PublishStream], None]) -> None:
        self._context = context
        self._intake = intake
        self._tenant = tenant
        self._on_owing = on_owing
        self._loop = asyncio.get_running_loop()
        self._admission: Admission | None = None
        self._stopped: asyncio.Future[Refused] = self._loop.create_future()
        self._whole: asyncio.Future[None] = self._loop.create_future()
        self._wake = LightEvent()
        self._moved = LightEvent()
        self._heartbeat: collector_pb2.Heartbeat | None = None
        self._drain: collector_pb2.Drain | None = None
        self._draining = self._finishing = self._waiting = False

    async def run(self) -> None:
        """Serve the stream to its end.

        Raises:
            Refused: the stream ends with an error.
        """
        admission = await self._intake.admit(await self._read_hello(), self._tenant, self)
        self._admission = admission
        key, numbers = admission.producer.key, admission.producer.numbers
        LOG.info(
            "%s: stream %d of %s begins behind %d",
            key,
            numbers.epoch,
            self._tenant.name,
            numbers.durable_seq,
            extra=facts(admission),
        )
        why = "its client is gone"
        try:
            await self._context.write(collector_pb2.ServerMessage(welcome=admission.welcome))
            await self._converse()
            closed = admission.session.closed
            if closed is not None and numbers.durable_seq >= closed.final_seq:
                why = "it is complete"
            else:
                why = "its client ended it" + ("" if closed is None else f" before number {closed.final_seq}")
        except Refused as refused:
            why = refused.reason
            raise
        finally:
            epoch, durable_seq = admission.session.epoch, numbers.durable_seq
            told = facts(admission) | {"epoch": epoch, "why": why}
            LOG.info("%s: stream %d ends, durable up to %d: %s", key, epoch, durable_seq, why, extra=told)
            self._intake.leave(admission.producer, self)

    @property
    def run_id(self) -> str:
        """The run that it writes; empty before its Hello."""
        return self._admission.producer.key.run_id if self._admission is not None else ""

    # --- told from outside --------------------------------------------------------------------------------------------

    def stop(self, refused: Refused) -> None:
        """End the stream with `refused`."""
        if not self._stopped.done():
            self._stopped.set_result(refused)
            self._moved.set()

    def drain(self, drain: collector_pb2.Drain, refused: Refused) -> None:
        """Tell the client to go, store and ack what was taken, end the stream with `refused`."""
        if not self._stopped.done():
            self._drain, self._draining = drain, True
            self._wake.set()
            self.stop(refused)

    def progressed(self) -> None:
        """Look again at what is durable: the session may owe an ack."""
        self._moved.set()
        if self._admission is not None:
            self._admission.session.settled(self._loop.time())
            self._look_for_the_end()
            self.poke()

    def poke(self) -> None:
        """Send an ack if it is due now, else have it sent later."""
        session = self._admission.session if self._admission is not None else None
        if session is not None and session.ack_due(self._loop.time()):
            self._wake.set()
        elif session is not None and session.owes:
            self._on_owing(self)

    def check_alive(self, now: float) -> None:
        """End the stream if its client has been silent for too long, and was not kept waiting."""
        if not self._waiting and self._admission is not None and self._admission.session.expired(now):
            self.stop(Refused("IDLE", f"no message for {self._intake.limits.dead_s:g} s; send heartbeats"))

    def _look_for_the_end(self) -> None:
        """End the stream after a Close once all is durable, whether the client half-closes it or not.

        It ends a moment later, so that a message after the Close, which there must not be, is still met.
        """
        session = self._admission.session if self._admission is not None else None
        if session is not None and session.closed is not None and session.done:
            self._loop.call_later(self._intake.limits.ack_s, self._end_well)

    def _end_well(self) -> None:
        if not self._whole.done():
            self._whole.set_result(None)

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _read_hello(self) -> collector_pb2.Hello:
        limit = self._intake.limits.hello_s
        try:
            first = await asyncio.wait_for(self._read_message(), limit)
        except TimeoutError:
            raise Refused("HELLO_TIMEOUT", f"no Hello came within {limit:g} s") from None
        if first is aio.EOF or first.WhichOneof("message") != "hello":
            raise Refused("MESSAGE_ORDER", "the first message of a stream is a Hello")
        hello: collector_pb2.Hello = first.hello
        return hello

    async def _read_message(self) -> Any:
        try:
            return await self._context.read()
        except DecodeError as error:
            raise Refused("MALFORMED", f"a message cannot be parsed: {error}") from None

    async def _converse(self) -> None:
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write())
        try:
            ends: set[asyncio.Future[Any]] = {reader, writer, self._stopped, self._whole}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            refused = _outcome(reader, writer, self._stopped)
            reader.cancel()
            if refused is None or self._draining:
                refused = await self._until_durable()
            if refused is None or self._draining or refused.reason in _WITH_LAST_ACK:
                await self._flush(writer)
        finally:
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
        if refused is not None:
            raise refused

    async def _until_durable(self) -> Refused | None:
        """Wait until what was taken is durable; return the refusal that came before or meanwhile."""
        admission = self._admission
        while admission is not None and not admission.session.done:
            if self._stopped.done() and not self._draining:
                break
            self._moved.clear()
            await self._moved.wait()
        return self._stopped.result() if self._stopped.done() else None

    async def _flush(self, writer: asyncio.Task[None]) -> None:
        """Send the last ack; a client that does not read it will ask again in its next Hello."""
        self._finishing = True
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(writer), _LAST_WRITE_S)

    async def _read(self) -> None:
        admission, intake = self._admission, self._intake
        assert admission is not None  # noqa: S101 - `run` let the stream in before
        while True:
            message = await self._read_message()
            if message is aio.EOF:
                return
            if message.WhichOneof("message") == "batches":
                pause = await self._take_batches(admission, message.batches)
            else:
                await self._window(admission)
                self._waiting = True
                await intake.turn(admission, message)
                self._waiting = False
                pause = intake.receive(admission, message)
            self._look_for_the_end()
            if message.WhichOneof("message") == "heartbeat":
                self._heartbeat = message.heartbeat
                self._wake.set()
            self.poke()
            del message  # an idle stream must not hold its last frame
            if pause:
                await asyncio.sleep(min(pause, _LONGEST_PAUSE_S))

    async def _take_batches(self, admission: Admission, batches: collector_pb2.Batches) -> float:
        """Take the frames of one message, each as if it came alone; return how long to wait before the next message."""
        if not batches.batches:
            raise Refused("MESSAGE_ORDER", "a Batches without a frame came")
        pause = 0.0
        for batch in batches.batches:
            await self._window(admission)
            self._waiting = True
            await self._intake.turn_of(admission, "batch")
            self._waiting = False
            pause = self._intake.receive_batch(admission, batch)
        return pause

    async def _window(self, admission: Admission) -> None:
        """Wait until fewer frames than twice the window are on their way: a client that keeps to it never waits."""
        while admission.session.in_flight >= 2 * self._intake.limits.window_frames:
            self._moved.clear()
            await self._moved.wait()

    async def _write(self) -> None:
        admission = self._admission
        assert admission is not None  # noqa: S101 - `run` let the stream in before
        while True:
            await self._wake.wait()
            self._wake.clear()
            last = self._finishing
            if self._drain is not None:
                drain, self._drain = self._drain, None
                await self._context.write(collector_pb2.ServerMessage(drain=drain))
            if self._heartbeat is not None:
                beat, self._heartbeat = self._heartbeat, None
                await self._context.write(collector_pb2.ServerMessage(heartbeat=beat))
            if last or admission.session.ack_due(self._loop.time()):
                await self._context.write(collector_pb2.ServerMessage(ack=admission.session.take_ack()))
            if last:
                return


def facts(admission: Admission) -> dict[str, object]:
    """Return what the log lines about a stream carry beside their sentence."""
    key, numbers = admission.producer.key, admission.producer.numbers
    return {
        "run_id": key.run_id,
        "producer_id": key.producer_id.hex(),
        "tenant": admission.tenant.name,
        "epoch": numbers.epoch,
        "durable_seq": numbers.durable_seq,
    }


# What was taken before these is on its way to the disk all the same; the client may as well know how far it came.
_WITH_LAST_ACK = frozenset({"GAP", "QUOTA", "IDLE"})


def _outcome(
    reader: asyncio.Task[None], writer: asyncio.Task[None], stopped: asyncio.Future[Refused]
) -> Refused | None:
    """Return why the stream ends; None at the client's end of it."""
    for task in (reader, writer):
        error = task.exception() if task.done() and not task.cancelled() else None
        if isinstance(error, Refused):
            return error
        if error is not None:
            raise error
    return stopped.result() if stopped.done() else None
