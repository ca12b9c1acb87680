"""`esper-telemetry runs`: the runs at a collector or in its folder, listed, and deleted one at a time."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.endpoint_options import endpoint_options
from esper_telemetry.commands.output import FAILED, FINE, INCOMPLETE, note, print_json, print_table, size, warn
from esper_telemetry.commands.progress import progress
from esper_telemetry.commands.runlisting import SUFFIX, print_runs, run_document, runs_of, with_run_folders
from esper_telemetry.commands.times import TimeFormat
from esper_telemetry.decode import rfc3339, summarize
from esper_telemetry.errors import ConfigError
from esper_telemetry.recordfile.remote import url_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esper_telemetry.v1.collector_pb2 import ProducerSummary, RunSummary

_ADDRESS = re.compile(r"[^/]+:\d{1,5}|unix:.+")
# A collector's folder has this file, whether it runs now or not.
COLLECTOR_LOCK = ".collector.lock"
_HEAD = ("run", "name", "producers", "connected", "events", "bytes", "started")
_EPILOG = """Events are counted by their numbers: up to the last one that is durable. Only a collector knows whether a
producer is connected. Deleting needs the right "delete" in the token file, or a folder on which no collector runs; a
run that is being written or read is not deleted. Exit code 1: it was not deleted; 3: of local runs something is damaged
or missing, or a writer is gone without an end, as for info."""


class _Runs(click.Group):
    """A group whose verb `list` may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the verb in front where it is missing."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Runs, epilog=_EPILOG)
def command() -> None:
    """List the runs at a collector, in its folder, or in a folder of local runs: `runs HOST:PORT` or `runs DIR`.

    `runs delete` deletes one at a collector or in its folder; `esper-telemetry rm` deletes local ones.
    """


@command.command("list")
@click.argument("place", metavar="HOST:PORT|DIR")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with the producers of each run.")
@click.option("--prefix", default="", help="Only runs whose id starts so.")
@endpoint_options
def list_(place: str, *, as_json: bool, prefix: str, **security: Any) -> int:
    """List runs: who wrote them, how much, and whether a process writes them now."""
    address = _address(place, security)
    if address is None and not (Path(place) / COLLECTOR_LOCK).exists():
        local = with_run_folders([place])
        if local != [place] or any(Path(place).glob("*" + SUFFIX)):
            return _list_local(local, prefix, as_json=as_json)
    runs = _at_collector(address, prefix, security) if address else _in_folder(Path(place), prefix)
    known = address is not None
    if as_json:
        print_json([_document(run, connected=known) for run in runs])
        return FINE
    rows = [_row(run, connected=known) for run in runs]
    if rows:
        print_table(_HEAD, rows)
    else:
        note("there is no run")
    return FINE


def _list_local(folders: Sequence[str], prefix: str, *, as_json: bool) -> int:
    """List runs that this machine recorded: their outcomes and results are known."""
    chosen = [folder for folder in folders if Path(folder).name.startswith(prefix)]
    summary = summarize(chosen) if chosen else None
    found = runs_of(summary) if summary else []
    times = TimeFormat("utc")
    if as_json:
        print_json([run_document(run, times) for run in found])
    elif found:
        print_runs(found, times)
    else:
        note("there is no run")
    for warning in summary.warnings if summary else ():
        warn(warning)
    return INCOMPLETE if summary and summary.warnings else FINE


@command.command()
@click.argument("run_id", metavar="RUN")
@click.argument("place", metavar="HOST:PORT|DIR")
@click.option("--yes", is_flag=True, help="Do not ask.")
@endpoint_options
def delete(run_id: str, place: str, *, yes: bool, **security: Any) -> int:
    """Delete the run with the id RUN and all its files. There is no way back."""
    address = _address(place, security)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("no terminal is here to ask; give --yes to delete without a question")
    if not yes and not click.confirm(f"delete run {run_id} at {place} and all its files?", err=True):
        note("nothing was deleted")
        return FAILED
    if address:
        from esper_telemetry.uplink.client import delete_run
        from esper_telemetry.uplink.endpoint import Endpoint

        gone = delete_run(Endpoint(address, **security), run_id)
    else:
        from esper_telemetry.storage.archive import delete_stored

        gone = delete_stored(Path(place), run_id)
    note(f"deleted run {run_id}: {size(gone)}")
    return FINE


def _address(place: str, security: dict[str, Any]) -> str | None:
    """Return `place` if it is an address, None if it is a folder.

    Raises:
        ConfigError: it is neither.
    """
    if Path(place).is_dir():
        if any(security.values()):
            raise click.UsageError(f"{place} is a folder: tokens and certificates go with HOST:PORT")
        return None
    if _ADDRESS.fullmatch(place) is None:
        if url_of(place) is not None:
            raise ConfigError(
                f"{place} is a URL, and only a collector or a folder lists runs; `info {place}/*` reads it"
            )
        raise ConfigError(f"{place} is neither a folder nor HOST:PORT, such as localhost:7575")
    return place


def _at_collector(address: str, prefix: str, security: dict[str, Any]) -> Iterator[RunSummary]:
    from esper_telemetry.uplink.client import list_runs
    from esper_telemetry.uplink.endpoint import Endpoint

    return list_runs(Endpoint(address, **security), prefix)


def _in_folder(root: Path, prefix: str) -> Iterator[RunSummary]:
    from esper_telemetry.storage.archive import run_ids, stored_run

    chosen = [run_id for run_id in run_ids(root) if run_id.startswith(prefix)]
    with progress("reading", len(chosen)) as show:
        for done, run_id in enumerate(chosen):
            show(done)
            run = stored_run(root, run_id)
            if run.producers:
                yield run


def _row(run: RunSummary, *, connected: bool) -> tuple[object, ...]:
    """Return a line of the table; a sum over some of the producers only has a + behind it."""
    more = "+" if run.producer_count > len(run.producers) else ""
    return (
        run.run_id,
        run.run_name or None,
        run.producer_count,
        f"{sum(each.connected for each in run.producers)}{more}" if connected else None,
        f"{sum(each.durable_seq for each in run.producers):,}{more}",
        size(sum(each.stored_bytes for each in run.producers)) + more,
        rfc3339(_started(run))[:19].replace("T", " "),
    )


def _document(run: RunSummary, *, connected: bool) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "name": run.run_name,
        "producer_count": run.producer_count,
        "connected": sum(each.connected for each in run.producers) if connected else None,
        "durable": sum(each.durable_seq for each in run.producers),
        "bytes": sum(each.stored_bytes for each in run.producers),
        "started": rfc3339(_started(run)),
        "producers": [_producer(each, connected=connected) for each in run.producers],
    }


def _producer(producer: ProducerSummary, *, connected: bool) -> dict[str, Any]:
    return {
        "producer_id": producer.producer_id.hex(),
        "rank": producer.rank,
        "stream": producer.stream,
        "host": producer.host,
        "durable": producer.durable_seq,
        "bytes": producer.stored_bytes,
        "connected": producer.connected if connected else None,
        "started": rfc3339(producer.started_unix_nano),
        "labels": dict(producer.labels),
    }


def _started(run: RunSummary) -> int:
    return min((each.started_unix_nano for each in run.producers), default=0)
