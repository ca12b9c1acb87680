"""`esper-telemetry collect`: run a collector until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.log_options import log_options, log_settings
from esper_telemetry.commands.output import FINE, WRONG, fail, note
from esper_telemetry.commands.service_verb import ServiceVerb, file_tables
from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from esper_telemetry.collector.server import CollectorServer

LOG = logging.getLogger("esper_telemetry.collector")
_FILE = click.Path(path_type=Path)
_EPILOG = """SIGTERM drains: everything that was taken becomes durable and is acked, clients are told to come back,
within 5 seconds. Operations page: esper_telemetry/collector/OPERATIONS.md."""


@click.command("collect", cls=ServiceVerb, tables=("retention",), epilog=_EPILOG)
@click.option("--listen", default="127.0.0.1:7575", show_default=True, help="HOST:PORT or unix:PATH.")
@click.option("--dir", "directory", type=_FILE, help="Folder of runs; made if it does not exist.")
@click.option(
    "--engine",
    metavar="URL",
    help="nats://HOST:PORT[,...]: a gateway to a message log that consumers store; no --dir.",
)
@click.option("--metrics", default="", help="HOST:PORT of /metrics and /healthz; none without it.")
@click.option("--health", default="", help="HOST:PORT of grpc.health.v1 alone, in the clear: for probes without TLS.")
@click.option("--tls-cert", type=_FILE, help="PEM file of the certificate chain; read again when it changes.")
@click.option("--tls-key", type=_FILE, help="PEM file of its key.")
@click.option("--tls-client-ca", type=_FILE, help="PEM file; clients need a certificate that it signed (mTLS).")
@click.option("--tokens", type=_FILE, help="TOML file of tenants and tokens; read again when it changes.")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without TLS all the same.")
@click.option(
    "--validate",
    type=click.Choice(["full", "sample", "off"]),
    default="sample",
    show_default=True,
    help="Which frames are decompressed and counted before they are stored.",
)
@click.option(
    "--archive", default="", metavar="URL", help="Send sealed segments to s3://BUCKET/PREFIX; retention waits for that."
)
@click.option("--min-free", default=5.0, show_default=True, help="Percent of the disk that stay free.")
@click.option("--retain-days", default=0.0, help="Delete segments older than this; the last of each producer stays.")
@click.option("--retain-gib", default=0.0, help="GiB of all records together; beyond it the oldest go.")
@click.option("--retain-run-days", default=0.0, help="Delete whole runs that nothing was written to for so long.")
@click.option(
    "--compact/--no-compact",
    default=True,
    show_default=True,
    help="Rewrite sealed segments into full frames, in a process of low priority, where a third is saved.",
)
@click.option("--max-streams", default=4096, show_default=True, help="Streams at once.")
@log_options
@click.option("--check", is_flag=True, help="Check settings, tokens and certificates, report what is wrong, and end.")
def command(
    *,
    listen: str,
    directory: Path | None,
    engine: str | None,
    metrics: str,
    health: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    tokens: Path | None,
    insecure: bool,
    validate: str,
    archive: str,
    min_free: float,
    retain_days: float,
    retain_gib: float,
    retain_run_days: float,
    compact: bool,
    max_streams: int,
    check: bool,
    **log_given: Any,
) -> int:
    """Receive the records of many runs and store them below --dir, or pass them to consumers behind --engine.

    With --check nothing is listened on and nothing is made: exit code 0 means that a start would find nothing wrong
    with what it was told, 2 that it would.
    """
    if (directory is None) == (engine is None):
        raise click.UsageError("give a place for the records: either --dir, or --engine")
    from esper_telemetry.collector.frame_check import Validation
    from esper_telemetry.collector.limits import CollectorLimits
    from esper_telemetry.collector.retention import RetentionRule, parse_rules
    from esper_telemetry.collector.server import serve
    from esper_telemetry.collector.settings import Settings, examine
    from esper_telemetry.daemon.native_log import native_log

    try:
        log = log_settings(engine, log_given) if engine is not None else None
        settings = Settings(
            listen=listen,
            directory=directory,
            archive=archive,
            log=log,
            metrics=metrics,
            health=health,
            certificate=tls_cert,
            key=tls_key,
            client_ca=tls_client_ca,
            tokens=tokens,
            insecure=insecure,
            validation=Validation(validate),
            min_free=min_free / 100,
            retention=(
                *parse_rules(file_tables("retention")),
                RetentionRule(days=retain_days, gib=retain_gib, run_days=retain_run_days),
            ),
            compact=compact,
            limits=CollectorLimits(streams=max_streams),
        )
        if check:
            for line in examine(settings):
                note(line)
            return FINE
    except ConfigError as error:
        if not check:
            raise
        fail(str(error))
        return WRONG
    with native_log():
        asyncio.run(serve(settings, lambda server: _listening(settings.listen, server)))
    return FINE


def _listening(listen: str, server: CollectorServer) -> None:
    place = listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{server.port}"
    metrics = f"; metrics on port {server.metrics_port}" if server.metrics_port else ""
    health = f"; health on port {server.health_port}" if server.health_port else ""
    ports = {"port": server.port, "metrics_port": server.metrics_port, "health_port": server.health_port}
    LOG.info("listening on %s%s%s", place, metrics, health, extra=ports)
