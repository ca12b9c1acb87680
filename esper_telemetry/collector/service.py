"""The gRPC service: who calls, what was asked, and with which status a call ends. Everything else is elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc

from esper_telemetry.collector.auth import EVERYBODY, Tenant
from esper_telemetry.collector.catalog import list_runs
from esper_telemetry.collector.identity import check_run_id
from esper_telemetry.collector.reader import follow_run
from esper_telemetry.collector.refusal import REFUSAL_KEY, Refused
from esper_telemetry.collector.stream import PublishStream
from esper_telemetry.errors import MissingExtraError
from esper_telemetry.v1 import collector_pb2, collector_pb2_grpc

try:
    from google.protobuf import any_pb2, duration_pb2
    from google.rpc import error_details_pb2, status_pb2
except ImportError as error:
    raise MissingExtraError("grpcio-status", "collector") from error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esper_telemetry.collector.auth import TokenFile
    from esper_telemetry.collector.intake import Intake
    from esper_telemetry.collector.metrics import Metrics

# Acks that are due "later" are looked at so often: half of the 50 ms after which one is due.
TICK_S = 0.025
_STATUS_KEY = "grpc-status-details-bin"


class CollectorService(collector_pb2_grpc.CollectorServicer):
    """Answers the calls of collector.proto.

    Args:
        intake: takes what streams bring.
        tokens: who may call.
        metrics: where refusals are counted.

    Attributes:
        streams: Publish streams that are open.
        empty: set while there are none.
    """

    def __init__(self, intake: Intake, tokens: TokenFile, metrics: Metrics) -> None:
        self._intake = intake
        self._tokens = tokens
        self._metrics = metrics
        self._owing: set[PublishStream] = set()
        self.streams: set[PublishStream] = set()
        self.empty = asyncio.Event()
        self.empty.set()

    async def Publish(self, _request_iterator: Any, context: Any) -> None:  # noqa: N802 - named by the service
        """Serve one stream."""
        async with self._answering(context):
            stream = PublishStream(context, self._intake, self._tenant(context, "write"), self._owing.add)
            self.streams.add(stream)
            self.empty.clear()
            try:
                await stream.run()
            finally:
                self.streams.discard(stream)
                self._owing.discard(stream)
                if not self.streams:
                    self.empty.set()

    async def PushBatch(self, request: collector_pb2.PushBatchRequest, context: Any) -> collector_pb2.Ack | None:  # noqa: N802
        """Take a short stream in one call; return when all of it is durable."""
        async with self._answering(context):
            return await _push(self._intake, request, self._tenant(context, "write"))

    async def GetWatermark(  # noqa: N802 - named by the service
        self, request: collector_pb2.GetWatermarkRequest, context: Any
    ) -> collector_pb2.Welcome | None:
        """Say what is durable of a producer."""
        async with self._answering(context):
            return await self._intake.watermark(request, self._tenant(context, "write"))

    async def Subscribe(self, request: collector_pb2.SubscribeRequest, context: Any) -> None:  # noqa: N802
        """Send the durable frames of a run, then what is added."""
        async with self._answering(context):
            tenant = self._tenant(context, "read")
            check_run_id(request.run_id)
            tenant.check_run(request.run_id)
            self._check_readable()
            await follow_run(self._intake, request, context.write)

    async def ListRuns(  # noqa: N802 - named by the service
        self, request: collector_pb2.ListRunsRequest, context: Any
    ) -> collector_pb2.ListRunsResponse | None:
        """Say which runs there are."""
        async with self._answering(context):
            tenant = self._tenant(context, "read")
            self._check_readable()
            return list_runs(self._intake.producers.values(), request, tenant)

    def tick(self) -> None:
        """Send the acks that have become due."""
        owing = list(self._owing)
        self._owing.clear()  # in place: streams hold its `add`
        for stream in owing:
            stream.poke()

    def check_alive(self) -> None:
        """End the streams of clients that have gone silent."""
        for stream in list(self.streams):
            stream.check_alive()

    def drain(self, drain: collector_pb2.Drain, refused: Refused) -> None:
        """Have every stream store and ack what was taken, and end."""
        for stream in list(self.streams):
            stream.drain(drain, refused)

    def _check_readable(self) -> None:
        if self._intake.engine.elsewhere:
            raise Refused("ELSEWHERE", f"this door keeps no record files: {self._intake.engine.elsewhere}")

    def _tenant(self, context: Any, right: str) -> Tenant:
        grants = self._tokens.grants
        if grants is None:
            return EVERYBODY
        names = context.auth_context().get("x509_subject_alternative_name", ())
        tenant = grants.by_certificate(name.decode(errors="replace") for name in names)
        if tenant is not None:
            return tenant
        authorization = next((value for key, value in context.invocation_metadata() if key == "authorization"), None)
        return grants.by_token(authorization if isinstance(authorization, str) else None, right, datetime.now(UTC))

    @contextlib.asynccontextmanager
    async def _answering(self, context: Any) -> Any:
        """End the call with the status of a refusal that its body raises."""
        try:
            yield
        except Refused as refused:
            self._metrics.refused.labels(refused.reason.lower()).inc()
            status = grpc.StatusCode[refused.status]
            await context.abort(status, refused.message, tuple(_details(refused, status)))


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
        self.refused: Refused | None = None
        self.moved = asyncio.Event()

    def stop(self, refused: Refused) -> None:
        self.refused = refused
        self.moved.set()

    def progressed(self) -> None:
        self.moved.set()


async def _push(intake: Intake, request: collector_pb2.PushBatchRequest, tenant: Tenant) -> collector_pb2.Ack:
    listener = _Push()
    admission = await intake.admit(request.hello, tenant, listener)
    try:
        for message in request.messages:
            await intake.room()
            intake.receive(admission, message)
        while not admission.session.done:
            if listener.refused is not None:
                raise listener.refused
            listener.moved.clear()
            await listener.moved.wait()
        return admission.session.take_ack()
    finally:
        intake.leave(admission.producer, listener, tenant)
