"""`esper-telemetry check`: judges runs by rules, for CI of training runs and for scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import (
    FINE,
    INCOMPLETE,
    PROBLEM,
    note,
    plural,
    print_json,
    print_table,
    printable,
    warn,
)
from esper_telemetry.commands.reading import find_files, json_option, latest_option
from esper_telemetry.report import gather
from esper_telemetry.views import Alerts, AlertState, Look, alerts_panel, load_rules
from esper_telemetry.views.alerts import PANEL_ID
from esper_telemetry.views.rules import DEFAULT_RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.report import GatheredRun
    from esper_telemetry.views import Finding

_EPILOG = """Exit codes: 0 no rule fired; 4 at least one did, and it is listed; 3 no rule fired and the record is
damaged or incomplete. A rule that fired and was cleared later counts, unless --at-end is given."""


@click.command(epilog=_EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(allow_dash=True))
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file of rules; without it the default ones.",
)
@click.option("--at-end", is_flag=True, help="Only rules that still fire at the end of the record.")
@click.option("--print-rules", is_flag=True, help="Print the default rules, to be copied and changed, and end.")
@latest_option
@json_option
def command(
    files: tuple[str, ...], *, rules: Path | None, at_end: bool, print_rules: bool, latest: bool, as_json: bool
) -> int:
    """Judge runs by rules: thresholds, absence, staleness, values that are not finite, losses."""
    if print_rules:
        print(DEFAULT_RULES.read_text(encoding="utf-8"), end="")
        return FINE
    if not files:
        raise click.UsageError("name at least one record or run folder, or pass --print-rules")
    panel = alerts_panel(load_rules(rules))
    runs = gather(find_files(files), panels=(panel,), latest=latest)
    found = [(run, finding) for run in runs for finding in _findings(run, at_end=at_end)]
    if as_json:
        print_json([_document(run, finding) for run, finding in found])
    elif found:
        _print(found, several=len(runs) > 1)
    for run in runs:
        fold = _alerts(run)
        judged = fold.judged(Look(run.view.facts))
        note(printable(f"{run.view.facts.run_id}: {judged} of {fold.rules} rules had events to judge"))
        for warning in run.warnings:
            warn(printable(warning))
    if found:
        note(f"{plural(len(found), 'rule')} fired")
        return PROBLEM
    return INCOMPLETE if any(run.warnings for run in runs) else FINE


def _alerts(run: GatheredRun) -> Alerts:
    fold = run.view.fold(PANEL_ID)
    if not isinstance(fold, Alerts):  # the panel was made here
        raise TypeError(type(fold))
    return fold


def _findings(run: GatheredRun, *, at_end: bool) -> list[Finding]:
    found = _alerts(run).findings(Look(run.view.facts))
    return [one for one in found if one.state is AlertState.FIRING or not at_end]


def _print(found: Sequence[tuple[GatheredRun, Finding]], *, several: bool) -> None:
    head = (*(["run"] if several else []), "severity", "rule", "where", "value", "threshold", "state", "times", "seq")
    rows = [
        (
            *([printable(run.view.facts.run_id)] if several else []),
            one.rule.severity.value,
            printable(one.rule.name),
            printable(one.place) or "run",
            printable(one.value),
            printable(one.rule.limit),
            one.state.value,
            one.times,
            one.seq,
        )
        for run, one in found
    ]
    print_table(head, rows)


def _document(run: GatheredRun, one: Finding) -> dict[str, Any]:
    return {
        "run_id": run.view.facts.run_id,
        "rule": one.rule.name,
        "kind": one.rule.kind.value,
        "severity": one.rule.severity.value,
        "where": one.place,
        "value": one.value,
        "threshold": one.rule.limit,
        "state": one.state.value,
        "times": one.times,
        "seq": one.seq,
        "first_time_unix_nano": one.first_ns or None,
        "text": one.rule.text,
    }
