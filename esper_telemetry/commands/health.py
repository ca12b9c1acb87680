"""`esper-telemetry health`: does a collector take streams? For people, scripts and container probes."""

from __future__ import annotations

from pathlib import Path

import click

from esper_telemetry.commands.output import FINE, PROBLEM


@click.command
@click.argument("address", metavar="HOST:PORT")
@click.option("--tls-ca", type=click.Path(path_type=Path), help="PEM file of certificates to trust; means TLS.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds to wait for an answer.")
def command(address: str, tls_ca: Path | None, timeout: float) -> int:
    """Ask the collector at HOST:PORT whether it serves.

    Exit code 0 means SERVING, 4 anything else.
    """
    from esper_telemetry.collector.probe import SERVING, ask_health

    said = ask_health(address, tls_ca, timeout)
    click.echo(said)
    return FINE if said == SERVING else PROBLEM
