"""`esper-telemetry health`: does a collector take streams? For people, scripts and container probes."""

from __future__ import annotations

from typing import Any

import click

from esper_telemetry.commands.endpoint_options import endpoint_options
from esper_telemetry.commands.output import FINE, PROBLEM


@click.command
@click.argument("address", metavar="HOST:PORT")
@endpoint_options
@click.option("--timeout", default=5.0, show_default=True, help="Seconds to wait for an answer.")
def command(address: str, *, timeout: float, **security: Any) -> int:
    """Ask the collector at HOST:PORT whether it serves.

    Exit code 0 means SERVING, 4 anything else.
    """
    from esper_telemetry.collector.probe import SERVING, ask_health
    from esper_telemetry.uplink.endpoint import Endpoint

    health = ask_health(Endpoint(address, **security), timeout)
    click.echo(health)
    return FINE if health == SERVING else PROBLEM
