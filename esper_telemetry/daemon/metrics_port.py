"""Metrics of one process for Prometheus, and the port that serves them: /metrics and /healthz."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError, MissingExtraError
from esper_telemetry.recordfile.header import writer_name
from esper_telemetry.wire import split_address

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.exposition import choose_encoder
except ImportError as error:
    raise MissingExtraError("prometheus-client", "collector") from error

if TYPE_CHECKING:
    from collections.abc import Callable


_SYNC_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class MetricSet:
    """The metrics of one process: everything it counts has one prefix and one registry.

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
        self.sync_seconds = Histogram(
            prefix + "sync_seconds", "Duration of an fdatasync.", buckets=_SYNC_BUCKETS, registry=self.registry
        )
        info = self._gauge("build_info", "Always 1; the label names the software and its version.", "version")
        info.labels(writer_name()).set(1)

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
        address: "HOST:PORT" to listen on; port 0 takes a free one.
        metrics: what to show.
        is_serving: whether /healthz answers 200; else 503.

    Raises:
        ConfigError: the address cannot be listened on.

    Attributes:
        port: the port it has.
    """

    def __init__(self, address: str, metrics: MetricSet, is_serving: Callable[[], bool]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # a silent client holds its thread no longer

            def do_GET(self) -> None:
                if self.path.partition("?")[0] == "/metrics":
                    body, content_type = metrics.render(self.headers.get("Accept", ""))
                    self._answer(200, body, content_type)
                elif self.path == "/healthz":
                    serving = is_serving()
                    self._answer(200 if serving else 503, b"SERVING\n" if serving else b"NOT_SERVING\n", "text/plain")
                else:
                    self._answer(404, b"there are /metrics and /healthz\n", "text/plain")

            def _answer(self, status: int, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
                """Log nothing: every scrape would be a line."""

        try:
            self._server = _listening(*split_address(address), Handler)
        except OSError as error:
            raise ConfigError(f"cannot listen on {address} for metrics: {error}; choose another address") from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="collector-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True


class _HttpServer6(_HttpServer):
    address_family = socket.AF_INET6


def _listening(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """Listen on a name or address of either family; a name that has both is taken as IPv4.

    Raises:
        OSError: it cannot be.
    """
    found = {family for family, *_ in socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)}
    server = _HttpServer if socket.AF_INET in found else _HttpServer6
    return server((host, port), handler)
