"""`esper-telemetry consume`: store what gateways put into a message log, until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import click

from esper_telemetry.commands.log_options import log_options, log_settings
from esper_telemetry.commands.service_verb import ServiceVerb

LOG = logging.getLogger("esper_telemetry.consumer")
_EPILOG = """Several consumers share the log's partitions; the others acquire those of a dead one within seconds.
Each has a folder of its own. SIGTERM stores what was taken and releases the partitions. Operations page:
esper_telemetry/collector/OPERATIONS.md."""


@click.command("consume", cls=ServiceVerb, epilog=_EPILOG)
@click.option("--engine", required=True, metavar="URL", help="nats://HOST:PORT[,HOST:PORT...]: where the log is.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), required=True, help="This consumer's own folder.")
@click.option("--metrics", default="", help="HOST:PORT of /metrics and /healthz; none without it.")
@click.option("--min-free", default=5.0, show_default=True, help="Percent of the disk that stay free.")
@click.option(
    "--compact/--no-compact",
    default=True,
    show_default=True,
    help="Rewrite sealed segments into full frames, in a process of low priority, where a third is saved.",
)
@log_options
def command(
    *,
    engine: str,
    directory: Path,
    metrics: str,
    min_free: float,
    compact: bool,
    **log_given: Any,
) -> None:
    """Store what the gateways of a collector receive: record files below --dir."""
    from esper_telemetry.jetstream.consumer import consume
    from esper_telemetry.jetstream.deployment import ConsumerSettings

    log = log_settings(engine, log_given)
    settings = ConsumerSettings(log=log, directory=directory, metrics=metrics, min_free=min_free / 100, compact=compact)
    asyncio.run(consume(settings, lambda consumer: LOG.info("consuming as %s below %s", consumer.id, directory)))
