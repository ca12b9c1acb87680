"""Metrics of one process for Prometheus, and the port that serves them: /metrics, /healthz and /livez.

/healthz answers whether work is taken, or why not, and names the background tasks that fail; /livez answers whether the
process does its duties at all: a full disk is no reason to restart it, an event loop that has stopped is one.
"""

from __future__ import annotations

import errno
import logging
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError, MissingExtraError
from esper_telemetry.recordfile.header import writer_name
from esper_telemetry.wire import split_address

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
    from prometheus_client.exposition import choose_encoder
except ImportError as error:
    raise MissingExtraError("prometheus-client", "collector") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LOG = logging.getLogger("esper_telemetry.collector")

_SYNC_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class MetricSet:
    """The metrics of one process: everything it counts has one prefix and one registry; `process_*` are beside it.

    Args:
        prefix: what their names start with.

    Attributes:
        registry: holds them all.
    """

    def __init__(self, prefix: str) -> None:
        self.registry = CollectorRegistry()
        self._prefix = prefix
        self.task_failures = self._counter(
            "task_failures", "Turns of a background task that failed, and tasks that ended.", "task"
        )
        self.task_failing = self._gauge(
            "task_failing", "1 while the last turn of a background task failed, else 0.", "task"
        )
        self.task_turns = self._gauge(
            "task_last_turn_timestamp_seconds", "When a background task last did its duty; seconds since 1970.", "task"
        )
        self.sync_seconds = Histogram(
            prefix + "sync_seconds", "Duration of an fdatasync.", buckets=_SYNC_BUCKETS, registry=self.registry
        )
        info = self._gauge("build_info", "Always 1; the label names the software and its version.", "version")
        info.labels(writer_name()).set(1)
        ProcessCollector(registry=self.registry)  # memory, processor time, files, start

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in a format that `accept` allows, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(self._prefix + name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(self._prefix + name, text, labels, registry=self.registry)


class MetricsServer:
    """The second port.

    Args:
        address: "HOST:PORT" to listen on; port 0 takes a free one. A name, and [::], take both families of addresses.
        metrics: what to show.
        problem: why no work is taken: /healthz answers 503 and states it; with "" it answers 200.
        stalled: names the background tasks that are overdue; /livez answers 503 where there are any.
        failing: names the background tasks whose last turn failed; /healthz adds a line with them.

    Raises:
        ConfigError: the address cannot be listened on.

    Attributes:
        port: the port it has.
    """

    def __init__(
        self,
        address: str,
        metrics: MetricSet,
        problem: Callable[[], str],
        stalled: Callable[[], list[str]] = list,
        failing: Callable[[], Iterable[str]] = list,
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # a silent client holds its thread no longer

            def do_GET(self) -> None:
                if self.path.partition("?")[0] == "/metrics":
                    body, content_type = metrics.render(self.headers.get("Accept", ""))
                    self._answer(200, body, content_type)
                elif self.path == "/healthz":
                    why, names = problem(), sorted(failing())
                    text = f"NOT_SERVING\nreason: {why}\n" if why else "SERVING\n"
                    text += f"failing: {', '.join(names)}\n" if names else ""
                    self._answer(503 if why else 200, text.encode(), "text/plain; charset=utf-8")
                elif self.path == "/livez":
                    overdue = stalled()
                    text = f"overdue: {', '.join(overdue)}\n" if overdue else "alive\n"
                    self._answer(503 if overdue else 200, text.encode(), "text/plain")
                else:
                    self._answer(404, b"there are /metrics, /healthz and /livez\n", "text/plain")

            def _answer(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
                """Log nothing: every scrape would be a line."""

        try:
            self._servers = _listening(*split_address(address), Handler)
        except OSError as error:
            raise ConfigError(f"cannot listen on {address} for metrics: {error}; choose another address") from error
        self.port = int(self._servers[0].server_address[1])
        for server in self._servers:
            threading.Thread(target=server.serve_forever, name="collector-metrics", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a request that failed: the base class prints it on stderr, in no form of ours."""
        del request
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # else its client is gone
            LOG.error("the metrics port could not answer %s", client_address, exc_info=error)


class _HttpServer6(_HttpServer):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Take IPv4 too where the address is the wildcard, whatever this machine's default is."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def _listening(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> list[ThreadingHTTPServer]:
    """Listen on every address of a name, on the same port; a family that this machine lacks is left out.

    Raises:
        OSError: none can be listened on, or one is taken.
    """
    found = {(family, str(at[0])) for family, _, _, _, at in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    servers: list[ThreadingHTTPServer] = []
    try:
        for family, address in sorted(found):  # IPv4 first
            make = _HttpServer6 if family is socket.AF_INET6 else _HttpServer
            try:
                servers.append(make((address, servers[0].server_address[1] if servers else port), handler))
            except OSError as error:
                if error.errno not in _NO_FAMILY or address in _WILDCARDS or len(found) == 1:
                    raise
        if not servers:
            raise OSError(errno.EADDRNOTAVAIL, "no address of it is this machine's")  # noqa: TRY301 - as the system
    except OSError as error:
        for server in servers:
            server.server_close()
        if host in _WILDCARDS and error.errno in _NO_FAMILY:
            return [_HttpServer(("0.0.0.0", port), handler)]  # noqa: S104 - the same, on a machine without IPv6
        raise
    return servers


_WILDCARDS = frozenset({"::"})
_NO_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
