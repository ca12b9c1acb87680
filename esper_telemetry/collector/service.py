"""The gRPC service: it finds out who calls and what is asked, and ends a call with the right status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import grpc

from esper_telemetry.collector.auth import Caller
from esper_telemetry.collector.producers import check_run_id
from esper_telemetry.collector.queries import delete_run, list_runs
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.stream import PublishStream, facts
from esper_telemetry.collector.subscription import follow_run
from esper_telemetry.daemon.supervisor import end_tasks
from esper_telemetry.errors import MissingExtraError
from esper_telemetry.v1 import collector_pb2, collector_pb2_grpc
from esper_telemetry.wire import REFUSAL_KEY

try:
    from google.protobuf import any_pb2, duration_pb2
    from google.rpc import error_details_pb2, status_pb2
except ImportError as error:
    raise MissingExtraError("grpcio-status", "collector") from error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from esper_telemetry.collector.auth import Tenant, TokenFile
    from esper_telemetry.collector.intake import Intake
    from esper_telemetry.collector.metrics import Metrics

_Result = TypeVar("_Result")

LOG = logging.getLogger("esper_telemetry.collector")

# Acks that are due "later" are looked at so often: half of the 50 ms after which one is due.
TICK_S = 0.025
_STATUS_KEY = "grpc-status-details-bin"


@dataclass(slots=True)
class _Asked:
    """What is known of a call when it is refused.

    Attributes:
        tenant: who called; empty while that is not known.
    """

    tenant: str = ""


class _Proof(NamedTuple):
    """Who calls.

    Attributes:
        caller: what the call brought.
        tenant: who that is.
        expires: until when, while the grants are the same; None where it does not end.
    """

    caller: Caller
    tenant: Tenant
    expires: datetime | None


@dataclass(frozen=True, slots=True, eq=False)
class _OpenCall:
    """A call that lasts, and so has to be allowed for as long as it does.

    Attributes:
        proof: who it was when the call began, and by what.
        run_id: tells which run it uses; empty while that is not known.
        stop: ends it.
    """

    proof: _Proof
    run_id: Callable[[], str]
    stop: Callable[[Refused], None]

    def check(self, tokens: TokenFile) -> None:
        """Stop the call if its caller may not do any more what it does; other rights are taken by calling again."""
        try:
            tenant = self.proof.caller.tenant(tokens.grants, datetime.now(UTC))
            if self.run_id():
                tenant.check_run(self.run_id())
        except Refused as refused:
            self.stop(refused)
        else:
            if tenant != self.proof.tenant:
                self.stop(Refused("TOKEN", f"what {self.proof.tenant.name} may do has changed; send a new Hello"))


class CollectorService(collector_pb2_grpc.CollectorServicer):
    """Answers the calls of collector.proto.

    Args:
        intake: takes what streams bring.
        tokens: who may call.
        metrics: where refusals are counted.

    Attributes:
        streams: Publish streams that are open.
        opened: Publish streams that were opened since the start.
        empty: set while there are none.
    """

    def __init__(self, intake: Intake, tokens: TokenFile, metrics: Metrics) -> None:
        self._intake = intake
        self._tokens = tokens
        self._metrics = metrics
        self._owing: set[PublishStream] = set()
        self._open: set[_OpenCall] = set()
        self._checked = tokens.grants
        self.streams: set[PublishStream] = set()
        self.opened = 0
        self.empty = asyncio.Event()
        self.empty.set()

    async def Publish(self, _request_iterator: Any, context: Any) -> None:  # noqa: N802 - named by the service
        """Serve one stream."""
        async with self._answering(context) as asked:
            proof = self._caller(context, "write", asked)
            stream = PublishStream(context, self._intake, proof.tenant, self._owing.add)
            self.streams.add(stream)
            self.opened += 1
            self.empty.clear()
            try:
                with self._lasting(_OpenCall(proof, lambda: stream.run_id, stream.stop)):
                    await stream.run()
            finally:
                self.streams.discard(stream)
                self._owing.discard(stream)
                if not self.streams:
                    self.empty.set()

    async def PushBatch(self, request: collector_pb2.PushBatchRequest, context: Any) -> collector_pb2.Ack | None:  # noqa: N802
        """Take a short stream in one call; return when all of it is durable."""
        async with self._answering(context) as asked:
            proof = self._caller(context, "write", asked)
            listener = _Push()
            with self._lasting(_OpenCall(proof, lambda: request.hello.run_id, listener.stop)):
                return await _unless(listener.stopped, _push(self._intake, request, proof.tenant, listener))

    async def GetWatermark(  # noqa: N802 - named by the service
        self, request: collector_pb2.GetWatermarkRequest, context: Any
    ) -> collector_pb2.Welcome | None:
        """Return what is durable of a producer."""
        async with self._answering(context) as asked:
            return await self._intake.watermark(request, self._caller(context, "write", asked).tenant)

    async def Subscribe(self, request: collector_pb2.SubscribeRequest, context: Any) -> None:  # noqa: N802
        """Send the durable frames of a run, then what is added."""
        async with self._answering(context) as asked:
            proof = self._caller(context, "read", asked)
            tenant = proof.tenant
            check_run_id(request.run_id)
            tenant.check_run(request.run_id)
            self._check_readable()
            stopped: asyncio.Future[Refused] = asyncio.get_running_loop().create_future()
            with self._lasting(_OpenCall(proof, lambda: request.run_id, _once(stopped))):
                await _unless(
                    stopped,
                    follow_run(self._intake.readers, request, tenant, context.write, self._intake.limits.heartbeat_s),
                )

    async def ListRuns(  # noqa: N802 - named by the service
        self, request: collector_pb2.ListRunsRequest, context: Any
    ) -> collector_pb2.ListRunsResponse | None:
        """List the runs."""
        async with self._answering(context) as asked:
            tenant = self._caller(context, "read", asked).tenant
            self._check_readable()
            return await list_runs(self._intake, request, tenant)

    async def DeleteRun(  # noqa: N802 - named by the service
        self, request: collector_pb2.DeleteRunRequest, context: Any
    ) -> collector_pb2.DeleteRunResponse | None:
        """Delete a run that has no stream and no reader."""
        async with self._answering(context) as asked:
            tenant = self._caller(context, "delete", asked).tenant
            self._check_readable()
            return collector_pb2.DeleteRunResponse(deleted_bytes=await delete_run(self._intake, request.run_id, tenant))

    def tick(self) -> None:
        """Send the acks that have become due."""
        owing = list(self._owing)
        self._owing.clear()  # in place: streams hold its `add`
        for stream in owing:
            stream.poke()

    def check_alive(self) -> None:
        """End the streams of clients that have gone silent."""
        now = asyncio.get_running_loop().time()
        for stream in list(self.streams):
            stream.check_alive(now)

    def check_callers(self) -> None:
        """End the calls whose token is gone or expired, or may not do any more what they do.

        All are looked at where the grants have changed, else those whose token has expired: to look at 10,000 every
        second took a tenth of a core.
        """
        grants, now = self._tokens.grants, datetime.now(UTC)
        changed, self._checked = grants is not self._checked, grants
        for call in list(self._open):
            if changed or (call.proof.expires is not None and now >= call.proof.expires):
                call.check(self._tokens)

    def drain(self, drain: collector_pb2.Drain, refused: Refused) -> None:
        """Have every stream store and ack what was taken, and end."""
        for stream in list(self.streams):
            stream.drain(drain, refused)

    def _check_readable(self) -> None:
        if self._intake.engine.elsewhere:
            raise Refused("ELSEWHERE", f"this gateway keeps no record files: {self._intake.engine.elsewhere}")

    def _caller(self, context: Any, right: str, asked: _Asked) -> _Proof:
        """Return who a call proves to be; `asked` learns that too.

        Raises:
            Refused: TOKEN or FORBIDDEN.
        """
        names = context.auth_context().get("x509_subject_alternative_name", ())
        authorization = next((value for key, value in context.invocation_metadata() if key == "authorization"), None)
        decoded = tuple(name.decode(errors="replace") for name in names)
        caller = Caller(authorization if isinstance(authorization, str) else None, decoded, right)
        tenant, expires = caller.proven(self._tokens.grants, datetime.now(UTC))
        asked.tenant = tenant.name
        return _Proof(caller, tenant, expires)

    @contextlib.contextmanager
    def _lasting(self, call: _OpenCall) -> Iterator[None]:
        """Have the rights of a call looked at again while it lasts."""
        self._open.add(call)
        try:
            yield
        finally:
            self._open.discard(call)

    @contextlib.asynccontextmanager
    async def _answering(self, context: Any) -> Any:
        """End the call with the status of a refusal that its body raises."""
        asked = _Asked()
        try:
            yield asked
        except Refused as refused:
            self._metrics.refused.labels(refused.reason.lower()).inc()
            if asked.tenant:
                self._metrics.tenant_refused.labels(asked.tenant).inc()
            LOG.info(
                "refused %s: %s (%s)",
                context.peer(),
                refused.message,
                refused.reason,
                extra={"peer": context.peer(), "reason": refused.reason, "tenant": asked.tenant or None},
            )
            status = grpc.StatusCode[refused.status]
            await context.abort(status, refused.message, tuple(_details(refused, status)))
        except Exception as error:
            if context.cancelled():  # its client is gone, and every write to it fails
                return
            self._metrics.failed_calls.inc()
            trace = None if isinstance(error, OSError) else error  # what the system refused is one line
            LOG.error("a call ended with an error inside the collector: %r", error, exc_info=trace)  # noqa: TRY400 - as above
            text = f"an error inside the collector ({type(error).__name__}); its log has it, come back later"
            await context.abort(grpc.StatusCode.UNAVAILABLE, text)


def _once(stopped: asyncio.Future[Refused]) -> Callable[[Refused], None]:
    """Return what stops a call: the first reason counts."""

    def stop(refused: Refused) -> None:
        if not stopped.done():
            stopped.set_result(refused)

    return stop


async def _unless(stopped: asyncio.Future[Refused], work: Awaitable[_Result]) -> _Result:
    """Do `work` to its end and return its result, or until it is stopped.

    Raises:
        Refused: it was stopped.
    """
    task = asyncio.ensure_future(work)
    ends: set[asyncio.Future[Any]] = {task, stopped}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise stopped.result()
        return task.result()
    finally:
        await end_tasks([task] if not task.done() else [])


def _details(refused: Refused, status: grpc.StatusCode) -> Iterator[tuple[str, bytes]]:
    yield REFUSAL_KEY, refused.to_proto().SerializeToString()
    if refused.retry_after_ms:
        wait = duration_pb2.Duration()
        wait.FromMilliseconds(refused.retry_after_ms)
        packed = any_pb2.Any()
        packed.Pack(error_details_pb2.RetryInfo(retry_delay=wait))
        rich = status_pb2.Status(code=status.value[0], message=refused.message, details=[packed])
        yield _STATUS_KEY, rich.SerializeToString()


class _Push:
    """A PushBatch as the intake sees it."""

    def __init__(self) -> None:
        self.stopped: asyncio.Future[Refused] = asyncio.get_running_loop().create_future()
        self.stop = _once(self.stopped)
        self.moved = asyncio.Event()

    def progressed(self) -> None:
        self.moved.set()


async def _push(
    intake: Intake, request: collector_pb2.PushBatchRequest, tenant: Tenant, listener: _Push
) -> collector_pb2.Ack:
    admission = await intake.admit(request.hello, tenant, listener)
    try:
        for message in request.messages:
            for batch in message.batches.batches:
                await intake.turn_of(admission, "batch")
                intake.receive_batch(admission, batch)
            if message.WhichOneof("message") != "batches":
                await intake.turn(admission, message)
                intake.receive(admission, message)
        # What a refusal has rewound is no more on its way either: it is looked for first.
        while not listener.stopped.done() and not admission.session.done:
            listener.moved.clear()
            await listener.moved.wait()
        if listener.stopped.done():
            raise listener.stopped.result()
        key, numbers = admission.producer.key, admission.producer.numbers
        LOG.info(
            "%s: push %d of %s is durable up to %d",
            key,
            numbers.epoch,
            tenant.name,
            numbers.durable_seq,
            extra=facts(admission),
        )
        return admission.session.take_ack()
    finally:
        intake.leave(admission.producer, listener)
