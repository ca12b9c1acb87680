"""`esper-telemetry push`: send records to a collector, those that are finished and those that are being written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.endpoint_options import endpoint_options
from esper_telemetry.commands.output import FAILED, FINE, INCOMPLETE, fail, note, plural, size, warn
from esper_telemetry.recordfile import SkipReason
from esper_telemetry.uplink.delivery import GIVE_UP_S, PushOptions
from esper_telemetry.uplink.endpoint import Endpoint
from esper_telemetry.uplink.sender import follow as follow_folder
from esper_telemetry.uplink.sender import push

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.uplink.delivery import Report

_PATIENCE_S = 30.0


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.argument("address", metavar="HOST:PORT")
@click.option("--follow", is_flag=True, help="Go on as the run is written, until its writers are gone.")
@click.option("--remove", is_flag=True, help="With --follow: remove files that are durable at the collector.")
@endpoint_options
@click.option(
    "--give-up-after",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"Stop after so long without progress. Default: {_PATIENCE_S:g}; {GIVE_UP_S:g} after the end with --follow.",
)
def command(
    paths: tuple[Path, ...],
    address: str,
    *,
    follow: bool,
    remove: bool,
    give_up_after: float | None,
    **security: Any,
) -> int:
    """Send records to a collector, byte for byte.

    PATH is a record or a run folder. What the collector has already is not sent again. Nothing
    here is changed or removed unless --remove is given. What `filter` wrote is not sent. Exit code
    3: all was sent that could be read, and the collector knows what is missing.
    """
    if follow and (len(paths) > 1 or not paths[0].is_dir()):
        raise click.UsageError("--follow takes one run folder")
    if remove and not follow:
        raise click.UsageError("--remove goes with --follow")
    endpoint = Endpoint(address, **security)
    options = PushOptions(
        follow=follow, keep_local=not remove, give_up_s=give_up_after or (GIVE_UP_S if follow else _PATIENCE_S)
    )
    reports = follow_folder(paths[0], endpoint, options, note) if follow else push(paths, endpoint, options, note)
    if reports is None:
        fail(f"{paths[0]} is being sent by another agent already")
        return FAILED
    return _conclude(reports)


def _conclude(reports: Sequence[Report]) -> int:
    """Say what is missing and what was sent; return the exit code."""
    for report in reports:
        for damage in report.damages:
            warn(damage)
        for (first, last), reason in sorted(report.skipped.items()):
            told = SkipReason(reason).name.lower().replace("_", " ")
            warn(f"{report.name}: numbers {first:,} to {last:,} could not be sent: {told}")
        if report.error:
            fail(f"{report.name}: {report.error}")
    sent, stored = sum(report.frames for report in reports), sum(report.bytes for report in reports)
    note(f"sent {plural(sent, 'frame')}, {size(stored)}")
    if any(report.error for report in reports):
        return FAILED
    return INCOMPLETE if any(report.damages or report.skipped for report in reports) else FINE
