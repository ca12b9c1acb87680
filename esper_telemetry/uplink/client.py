"""The calls that a client makes at a collector: the stream of a session, and the runs listed and deleted.

A stream opens a fresh channel every time, in the event loop that uses it, and closes it after the
stream: a channel that saw its server die is not trusted again. Silence is found by the session's own
heartbeats; the keepalive of gRPC missed a frozen server for 45 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from esper_telemetry.errors import ConfigError, RecordError
from esper_telemetry.uplink.retry import StreamEnd
from esper_telemetry.uplink.terms import BatchesMessage, BatchMessage, wire_bytes
from esper_telemetry.v1 import collector_pb2, collector_pb2_grpc
from esper_telemetry.wire import REFUSAL_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esper_telemetry.uplink.endpoint import Endpoint
    from esper_telemetry.uplink.session import Session

# How often the spool is looked at while there is nothing to send: a twentieth of a second of latency, 0.1 % of a core.
POLL_S = 0.05
_WATERMARK_S = 10.0
_PUBLISH = f"/{collector_pb2.DESCRIPTOR.services_by_name['Collector'].full_name}/Publish"
_PAGE_S = 60.0
# Deleting many large files takes a slow disk minutes, and a deletion that was begun is not undone.
_DELETE_S = 600.0
_LONGEST_MESSAGE = 8 << 20
_SILENT = "the collector did not answer for three heartbeats"


async def run_stream(session: Session, endpoint: Endpoint, on_progress: Callable[[], None]) -> None:
    """Run one stream from its Hello to its end; afterwards the session knows how it ended.

    Args:
        session: has not connected, or its last stream has ended.
        endpoint: where to.
        on_progress: called after each message of the collector.

    Raises:
        RecordError: the spool cannot be read.
    """
    session.connect(time.monotonic())
    try:
        metadata = endpoint.metadata
        async with endpoint.aio_channel(max_send_message_length=-1) as channel:
            stub = _stub(channel)
            if not session.epoch_known:
                run_id, producer_id = session.producer
                request = collector_pb2.GetWatermarkRequest(run_id=run_id, producer_id=producer_id)
                known = await stub.GetWatermark(request, metadata=metadata, timeout=_WATERMARK_S)
                session.learn_epoch(known.session_epoch)
            publish = channel.stream_stream(
                _PUBLISH,
                request_serializer=wire_bytes,
                response_deserializer=collector_pb2.ServerMessage.FromString,
            )
            await _Stream(session, publish(metadata=metadata), on_progress).run()
    except aio.AioRpcError as error:
        session.end(time.monotonic(), await _explained(ending_of(error), endpoint))
    except ConfigError as error:  # a token or certificate that is being replaced
        session.end(time.monotonic(), StreamEnd("UNAUTHENTICATED", str(error)))


async def _explained(ending: StreamEnd, endpoint: Endpoint) -> StreamEnd:
    """Return an ending with its true reason: what waiting cannot fix is no unavailable server."""
    if ending.code != "UNAVAILABLE" or ending.reason:
        return ending
    wrong = await asyncio.to_thread(endpoint.misconfiguration)
    return StreamEnd("UNAUTHENTICATED", wrong) if wrong else ending


class _Stream:
    """One call: a writer, a reader, and a watchdog that gives up a silent collector.

    The writer is a task of its own because a write to a server that never answered the
    connection waits on even after its call was cancelled.
    """

    def __init__(self, session: Session, call: Any, on_progress: Callable[[], None]) -> None:
        self._session = session
        self._call = call
        self._on_progress = on_progress
        self._heard = asyncio.Event()
        self._next: collector_pb2.ClientMessage | BatchMessage | None = None

    async def run(self) -> None:
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write())
        watchdog = asyncio.create_task(self._watch())
        tasks = {reader, writer, watchdog}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in (reader, writer):
                if task.done():
                    task.result()  # an error that is not the wire's
            ending = await self._ending() if reader.done() else StreamEnd("DEADLINE_EXCEEDED", _SILENT)
        finally:
            for task in tasks:
                task.cancel()
            self._call.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._session.end(time.monotonic(), ending)

    async def _write(self) -> None:
        """Send what there is to send; ends only when the session has stopped for good."""
        session = self._session
        closed = False
        while not session.stopped:
            now = time.monotonic()
            message = self._message(now)
            try:
                if message is not None:
                    await self._call.write(message)
                elif session.settled and not closed:
                    closed = True
                    await self._call.done_writing()
                else:
                    await self._rest(max(0.0, min(POLL_S, session.wake_at(now) - now)))
            except (aio.AioRpcError, asyncio.InvalidStateError):
                await asyncio.Event().wait()  # the call has ended: the reader knows how

    def _message(self, now: float) -> collector_pb2.ClientMessage | BatchMessage | BatchesMessage | None:
        """Return what is sent next: frames that are there by now together, as far as the collector takes that.

        A message costs gRPC about 0.1 ms of processor at each end, whatever its size.
        """
        session = self._session
        message, self._next = self._next or session.send(now, time.time_ns()), None
        if not isinstance(message, BatchMessage):
            return message
        together, size = [message], len(message.payload)
        while size < session.batches_bytes:
            more = session.send(now, time.time_ns())
            if not isinstance(more, BatchMessage) or size + len(more.payload) > session.batches_bytes:
                self._next = more
                break
            together.append(more)
            size += len(more.payload)
        return BatchesMessage(together) if len(together) > 1 else message

    async def _rest(self, seconds: float) -> None:
        """Wait until something is heard, for at most so long."""
        self._heard.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), seconds)

    async def _read(self) -> None:
        """Hear the collector; ends with the call."""
        with contextlib.suppress(aio.AioRpcError):
            while (message := await self._call.read()) is not aio.EOF:
                self._session.receive(time.monotonic(), message)
                self._heard.set()
                self._on_progress()

    async def _watch(self) -> None:
        while not self._session.dead(now := time.monotonic()):  # noqa: ASYNC110 - time passes, nothing happens
            await asyncio.sleep(max(0.01, min(1.0, self._session.wake_at(now) - now)))

    async def _ending(self) -> StreamEnd:
        return _ending(await self._call.code(), await self._call.details(), await self._call.trailing_metadata())


def ending_of(error: aio.AioRpcError) -> StreamEnd:
    """Return the end of a stream that an error of gRPC reports."""
    return _ending(error.code(), error.details(), error.trailing_metadata())


def _ending(code: grpc.StatusCode, details: str | None, trailers: Any) -> StreamEnd:
    refusal = collector_pb2.Refusal()
    for key, value in trailers or ():
        if key == REFUSAL_KEY:
            with contextlib.suppress(DecodeError):
                refusal.ParseFromString(value)
    retry_after = refusal.retry_after_ms / 1000 if refusal.retry_after_ms else None
    return StreamEnd(code.name, details or "", refusal.reason, retry_after)


# --- runs -------------------------------------------------------------------------------------------------------------


def list_runs(endpoint: Endpoint, prefix: str = "") -> Iterator[collector_pb2.RunSummary]:
    """Yield the runs at a collector whose id starts with `prefix`, by id.

    Raises:
        ConfigError: a file of the endpoint cannot be read.
        RecordError: the collector does not answer, or refuses.
    """
    page = ""
    try:
        with endpoint.channel(max_receive_message_length=_LONGEST_MESSAGE) as channel:
            while True:
                request = collector_pb2.ListRunsRequest(prefix=prefix, page_size=1000, page_token=page)
                answer = _stub(channel).ListRuns(request, timeout=_PAGE_S, metadata=endpoint.metadata)
                yield from answer.runs
                page = answer.next_page_token
                if not page:
                    return
    except grpc.RpcError as error:
        raise _refusal_of(endpoint, error) from None


def delete_run(endpoint: Endpoint, run_id: str) -> int:
    """Delete a run at a collector; return what its record files took, bytes.

    Raises:
        ConfigError: a file of the endpoint cannot be read.
        RecordError: the collector does not answer, or refuses: it is being written or read, there is none, ...
    """
    try:
        with endpoint.channel() as channel:
            request = collector_pb2.DeleteRunRequest(run_id=run_id)
            answer = _stub(channel).DeleteRun(request, timeout=_DELETE_S, metadata=endpoint.metadata)
            return int(answer.deleted_bytes)
    except grpc.RpcError as error:
        raise _refusal_of(endpoint, error) from None


def _stub(channel: grpc.Channel | aio.Channel) -> Any:
    return collector_pb2_grpc.CollectorStub(channel)  # type: ignore[no-untyped-call]  # generated


def _refusal_of(endpoint: Endpoint, error: Any) -> RecordError:
    wrong = endpoint.misconfiguration() if error.code() is grpc.StatusCode.UNAVAILABLE else ""
    status = error.code().name.lower().replace("_", " ")
    return RecordError(wrong or f"the collector answers {status}: {error.details()}", path=endpoint.address)
