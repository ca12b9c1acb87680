"""The process of a collector: it listens, watches its disk, reloads tokens and certificates, and drains on a signal.

A start locks the folder, recovers the files, then listens; one that fails undoes what it had begun. A stop reports
NOT_SERVING, sends Drain to every stream, syncs, sends the last acks and exits within 5 s. Without TLS it listens on
loopback only, unless `insecure` is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from esper_telemetry.collector.auth import TokenFile
from esper_telemetry.collector.expiry import WallClock, inspect
from esper_telemetry.collector.handshakes import HandshakeFilter
from esper_telemetry.collector.intake import Intake
from esper_telemetry.collector.interceptors import CallBudget, CallLimit, Malformed
from esper_telemetry.collector.metrics import Metrics
from esper_telemetry.collector.reflection import add_reflection
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.retention import carry_out, plan_retention, tenant_prefixes
from esper_telemetry.collector.service import TICK_S, CollectorService
from esper_telemetry.collector.usage import TenantUsage
from esper_telemetry.daemon.failures import TaskFailures
from esper_telemetry.daemon.long_lived import LongLived
from esper_telemetry.daemon.metrics_port import MetricsServer
from esper_telemetry.daemon.native_log import CORE
from esper_telemetry.daemon.supervisor import Supervisor, run_until_signal
from esper_telemetry.daemon.systemd_notify import tell_manager, watchdog_interval
from esper_telemetry.errors import ConfigError, MissingExtraError
from esper_telemetry.jetstream.deployment import WINDOW_FRAMES
from esper_telemetry.storage.disk import too_few_files
from esper_telemetry.storage.file_engine import FileEngine
from esper_telemetry.storage.store import MOST_OPEN_FILES
from esper_telemetry.v1 import collector_pb2, collector_pb2_grpc
from esper_telemetry.wire import is_loopback, split_address

try:
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
except ImportError as error:
    raise MissingExtraError("grpcio-health-checking", "collector") from error

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.collector.limits import CollectorLimits
    from esper_telemetry.collector.settings import Settings
    from esper_telemetry.collector.tls import Certificates
    from esper_telemetry.storage.engine import Engine

LOG = logging.getLogger("esper_telemetry.collector")

SERVICE = collector_pb2.DESCRIPTOR.services_by_name["Collector"].full_name
_WATCH_S = 1.0
_EXPIRE_S = 600.0
# Of the 5 s that an end may take: what was taken becomes durable, then segments are sealed, then calls are cut.
_DRAIN_S, _SEAL_S, _CUT_S = 3.0, 1.0, 0.5
_RECONNECT_MS = 500
_SPARE_CALLS = 256
_JITTER_MS = 2000


class CollectorServer:
    """A collector that can be started and stopped inside a running event loop.

    Args:
        settings: how it runs.

    Raises:
        ConfigError: the settings are unsafe or do not fit together.

    Attributes:
        port: the port it listens on; 0 for a unix socket.
        metrics_port: port of /metrics; 0 where there is none.
        health_port: port of the health service in the clear; 0 where there is none.
        metrics: what it counts.
        intake: what it knows.
        ended: set once it cannot go on; `failure` gives the reason.
        failure: why it cannot go on; empty if it can.
        failures: what fails in the background.
    """

    def __init__(self, settings: Settings) -> None:
        settings.check()
        self._settings = settings
        self._retains = any(rule.limits for rule in settings.retention)
        self._tokens = TokenFile(settings.tokens)
        self.metrics = Metrics()
        self.port = self.metrics_port = self.health_port = 0
        self.intake: Intake
        self._service: CollectorService
        self._server: Any = None
        self._health = health.aio.HealthServicer()
        self.failures = TaskFailures(LOG, self.metrics.task_failures, self.metrics.task_failing)
        self._duties = Supervisor(self.failures, self.fail, self.metrics.task_turns)
        self._undo = contextlib.AsyncExitStack()
        self._draining = False
        self._expire_at = 0.0
        self._clock: WallClock
        self._usage: TenantUsage
        self._certificates: Certificates | None = None
        self.ended = asyncio.Event()
        self.failure = ""

    async def start(self) -> None:
        """Put the files in order and listen.

        Raises:
            ConfigError: the folder is in use, the address is taken, a certificate cannot be read.
            SinkError: the disk refused.
        """
        try:
            await self._start()
        except BaseException:
            await self._undo.aclose()
            raise

    async def _start(self) -> None:
        """Begin piece by piece; `_undo` ends the pieces in the opposite order."""
        settings, undo = self._settings, self._undo
        self.intake = Intake(
            _engine(settings, self.metrics, self.failures), _limits(settings), settings.validation, self.metrics
        )
        await self.intake.start()
        undo.push_async_callback(self.intake.stop, _SEAL_S)
        if settings.directory is not None:
            self._clock = WallClock(settings.directory)
            await self._look_at_clock()  # now, so that the shortest use leaves its mark
        few = too_few_files(settings.limits.streams, MOST_OPEN_FILES if settings.directory is not None else 0)
        for note in (*self.intake.engine.notes, *filter(None, [few])):
            LOG.warning("%s", note)
        self._service = CollectorService(self.intake, self._tokens, self.metrics)
        undo.push_async_callback(self._duties.end)
        core, handshakes = logging.getLogger(CORE), HandshakeFilter(self.metrics.handshake_failures)
        core.addFilter(handshakes)
        undo.callback(core.removeFilter, handshakes)
        self._certificates = settings.certificates() if settings.secure else None
        self._usage = TenantUsage(self.intake, self._tokens, self.metrics)
        self._usage.show()
        await self._gauge()
        await self._watch_certificates()
        self._server = self._build()
        undo.push_async_callback(self._cut_calls, self._server)
        self.port = self._listen(self._server, settings.listen, secure=settings.secure)
        await self._watch_storage()
        await self._server.start()
        if settings.health:
            health_server = aio.server(options=[("grpc.so_reuseport", 0)])
            undo.push_async_callback(health_server.stop, None)
            health_pb2_grpc.add_HealthServicer_to_server(self._health, health_server)
            self.health_port = self._listen(health_server, settings.health, secure=False)
            await health_server.start()
        if settings.metrics:
            metrics_server = MetricsServer(
                settings.metrics,
                self.metrics,
                lambda: str(self.intake.unavailable or ""),
                self._duties.overdue,
                self.failures.failing,
            )
            undo.push_async_callback(asyncio.to_thread, metrics_server.close)
            self.metrics_port = metrics_server.port
        self._begin_duties()

    def _begin_duties(self) -> None:
        duties = self._duties
        duties.every(TICK_S, "acks", self._tick)
        duties.every(_WATCH_S, "streams", self._watch_streams)
        duties.every(_WATCH_S, "tokens", self._watch_tokens)
        duties.every(_WATCH_S, "storage", self._watch_storage)
        duties.every(_WATCH_S, "gauges", self._gauge)
        duties.every(_WATCH_S, "usage", self._usage.look)
        if self._certificates is not None:
            duties.every(_WATCH_S, "certificates", self._watch_certificates)
        if watchdog_interval():
            duties.every(watchdog_interval(), "watchdog", self._tell_alive)
        if self._settings.directory is not None:
            duties.every(_WATCH_S, "retention", self._retain)

    async def stop(self) -> None:
        """Drain: what was taken becomes durable, is acked, and all streams end; at most 5 s."""
        self._draining = True
        tell_manager("STOPPING=1")
        refused = Refused("DRAINING", "the collector stops; come back later", retry_after_ms=_RECONNECT_MS)
        self.intake.unavailable = refused
        await self._show()
        self._service.drain(_drain(collector_pb2.DRAIN_REASON_SHUTDOWN), refused)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._service.empty.wait(), _DRAIN_S)
        await self._undo.aclose()

    async def _cut_calls(self, server: Any) -> None:
        await server.stop(_CUT_S if self._service.streams else 0.1)

    def fail(self, why: str) -> None:
        """Take no more streams: something that the collector cannot go on without has ended."""
        if not self.failure:
            self.failure = why
            self.intake.unavailable = Refused("STORAGE", f"the collector stops: {why}", retry_after_ms=_RECONNECT_MS)
            self.ended.set()

    # --- listening ----------------------------------------------------------------------------------------------------

    def _build(self) -> Any:
        limits = self._settings.limits
        server = aio.server(
            options=[
                # Beyond it gRPC ends a call as if its client had gone; below it the refusal is ours, with a reason.
                ("grpc.max_receive_message_length", 2 * limits.message_bytes),
                ("grpc.so_reuseport", 0),  # a second collector on the port must fail, not share it
                ("grpc.max_concurrent_streams", limits.streams + 64),
                ("grpc.keepalive_time_ms", 60_000),  # finds peers whose machine is gone; ours finds frozen ones
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
            compression=grpc.Compression.NoCompression,
            interceptors=[
                # Streams before their Hello count too.
                CallLimit(limits.streams + limits.readers + limits.watches + _SPARE_CALLS, self.metrics),
                Malformed(SERVICE, self.metrics),
                CallBudget(SERVICE, limits.watches, self.metrics),
            ],
        )
        add_collector: Any = collector_pb2_grpc.add_CollectorServicer_to_server
        add_collector(self._service, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if is_loopback(self._settings.listen) or self._settings.client_ca is not None:
            add_reflection([SERVICE, health.SERVICE_NAME], server)
        return server

    def _listen(self, server: Any, address: str, *, secure: bool) -> int:
        is_socket = address.startswith("unix:")
        if not is_socket:
            split_address(address)
        try:
            if not secure:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self._credentials())
        except RuntimeError as error:
            raise ConfigError(f"cannot listen on {address}: {error}; choose another address") from error
        return 0 if is_socket else int(port)

    def _credentials(self) -> grpc.ServerCredentials:
        certificates = self._certificates
        assert certificates is not None  # noqa: S101 - `_start` read them
        return grpc.dynamic_ssl_server_credentials(
            certificates.first, certificates.changed, require_client_authentication=self._settings.client_ca is not None
        )

    # --- watching -----------------------------------------------------------------------------------------------------

    def keep_pauses_short(self) -> None:
        """Have this process collect garbage more seldom, and in smaller pieces, while it runs."""
        service, long_lived = self._service, LongLived()

        async def look() -> None:
            open_now, now = len(service.streams), asyncio.get_running_loop().time()
            long_lived.look(service.opened, service.opened - open_now, now)

        self._duties.every(_WATCH_S, "garbage", look)

    async def _tick(self) -> None:
        self._service.tick()

    async def _watch_streams(self) -> None:
        self._service.check_alive()
        inspect(self.intake)
        self.intake.seal_idle(asyncio.get_running_loop().time())

    async def _watch_tokens(self) -> None:
        if await asyncio.to_thread(self._tokens.refresh):
            LOG.warning("%s", self._tokens.problem or "the token file was read again")
        self._service.check_callers()

    async def _watch_certificates(self) -> None:
        if self._certificates is not None:
            await asyncio.to_thread(self._certificates.refresh)
            for use, expiry in self._certificates.expiries.items():
                self.metrics.certificate_expiry.labels(use).set(expiry)

    async def _tell_alive(self) -> None:
        if not self._duties.overdue():
            tell_manager("WATCHDOG=1")

    async def _retain(self) -> None:
        rules, now, believed = self._settings.retention, asyncio.get_running_loop().time(), await self._look_at_clock()
        if not self._retains or not believed or now < self._expire_at:
            return
        self._expire_at = now + _EXPIRE_S
        prefixes = tenant_prefixes(rules, self._tokens.grants)
        stock = await self.intake.engine.weigh()
        plan = await asyncio.to_thread(plan_retention, stock, rules, prefixes, time.time())
        self.metrics.retention_beyond_bytes.set(plan.beyond)
        self.metrics.expired_runs.inc(await carry_out(self.intake, plan))

    async def _look_at_clock(self) -> bool:
        """Return whether the wall clock is believed; log a change where it matters."""
        doubted = self._clock.doubt
        believed = await asyncio.to_thread(self._clock.look, time.time(), asyncio.get_running_loop().time())
        if self._retains and self._clock.doubt != doubted:
            LOG.warning("%s", self._clock.doubt or "the wall clock is believed again: retention goes on")
        return believed

    async def _watch_storage(self) -> None:
        broken = self.intake.engine.broken
        if broken:
            self.fail(broken)
        free, problem = await self.intake.engine.examine(self._settings.min_free)
        self.metrics.free_ratio.set(free)
        if self._draining or self.failure:
            return
        before = self.intake.unavailable
        self.intake.unavailable = Refused("STORAGE", problem, retry_after_ms=_RECONNECT_MS) if problem else None
        if (before is None) == (self.intake.unavailable is None) and self._serving_known:
            return
        level, text = (logging.WARNING, f"NOT_SERVING: {problem}") if problem else (logging.INFO, "SERVING")
        LOG.log(level, "%s", text, extra={"serving": not problem, "free_ratio": round(free, 4)})
        await self._show()
        if self.intake.unavailable is not None:
            self._service.drain(_drain(collector_pb2.DRAIN_REASON_STORAGE), self.intake.unavailable)

    _serving_known = False

    @property
    def _serving(self) -> bool:
        return self.intake.unavailable is None

    async def _show(self) -> None:
        """Tell health clients and metrics whether streams are taken."""
        self._serving_known = True
        states = health_pb2.HealthCheckResponse
        status = states.SERVING if self._serving else states.NOT_SERVING
        self.metrics.serving.set(self._serving)
        tell_manager(f"STATUS={'serving' if self._serving else self.intake.unavailable}")
        for name in ("", SERVICE):
            await self._health.set(name, status)

    async def _gauge(self) -> None:
        now = asyncio.get_running_loop().time()
        self.metrics.streams.set(self.intake.streams)
        self.metrics.open_runs.set(self.intake.open_runs)
        self.metrics.queued_bytes.set(self.intake.queued_bytes)
        self.metrics.durable_lag_seconds.set(self.intake.lag(now))


def _limits(settings: Settings) -> CollectorLimits:
    """Return what is granted: the way through a log is longer, so more frames are on it."""
    if settings.log is None:
        return settings.limits
    return replace(settings.limits, window_frames=max(settings.limits.window_frames, WINDOW_FRAMES))


def _engine(settings: Settings, metrics: Metrics, failures: TaskFailures) -> Engine:
    if settings.log is not None:
        from esper_telemetry.jetstream.gateway import GatewayEngine

        return GatewayEngine(settings.log, failures)
    assert settings.directory is not None  # noqa: S101 - `check` looked
    return FileEngine(
        settings.directory,
        metrics.unread_runs.set,
        settings.archive,
        metrics.archived,
        metrics.compacted,
        compacts=settings.compact,
        failures=failures,
    )


def _drain(reason: collector_pb2.DrainReason) -> collector_pb2.Drain:
    return collector_pb2.Drain(reason=reason, reconnect_after_ms=_RECONNECT_MS, jitter_ms=_JITTER_MS)


async def serve(settings: Settings, on_ready: Callable[[CollectorServer], None]) -> None:
    """Run a collector until SIGTERM or SIGINT, then drain it. A signal ends a start that waits for something, too.

    Args:
        settings: how it runs.
        on_ready: called once it listens.

    Raises:
        ConfigError: it cannot run like this.
        SinkError: the disk refused at the start, or a part of the collector ended that must not.
    """

    def ready(server: CollectorServer) -> None:
        server.keep_pauses_short()
        on_ready(server)
        tell_manager("READY=1")

    await run_until_signal(CollectorServer(settings), ready, LOG)
