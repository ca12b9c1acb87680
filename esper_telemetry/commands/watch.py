"""`esper-telemetry watch`: rules over a run while it goes on; what fires is printed, posted or handed to a command."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from esper_telemetry.commands.endpoint_options import endpoint_options
from esper_telemetry.commands.output import FINE, INCOMPLETE, PROBLEM, note, print_text, warn
from esper_telemetry.commands.ui import find_listing
from esper_telemetry.errors import ConfigError, NotARecordError
from esper_telemetry.ui.runfold import RunFold
from esper_telemetry.views.alerts import PANEL_ID, Alerts, alerts_panel
from esper_telemetry.views.rules import AlertState, load_rules

if TYPE_CHECKING:
    from esper_telemetry.views import Look, RunView
    from esper_telemetry.views.rules import Finding

_LOOK_S = 1.0
_ANSWER_S = 5.0
_COMMAND_S = 60.0
_TRIES = 3
_AGAIN_S = 1.0
_EPILOG = """Each finding is one JSON object with run, rule, place, state ("firing" or "cleared"), value, limit,
severity, seq and text. A webhook gets it by POST, a command on standard input and in ESPER_RULE, ESPER_STATE and
ESPER_RUN. Exit code: 0 nothing fired, 3 a webhook or command failed, 4 something fired."""


@click.command(epilog=_EPILOG)
@click.argument("place", metavar="PLACE", type=click.Path())
@click.option(
    "--rules", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TOML of rules; default: built in."
)
@click.option("--webhook", metavar="URL", help="POST each finding there.")
@click.option("--exec", "program", metavar="COMMAND", help="Run this for each finding; no shell is involved.")
@click.option("--json", "as_json", is_flag=True, help="Print findings as JSON lines.")
@click.option("--forever", is_flag=True, help="Do not end with the run: another attempt may begin.")
@endpoint_options
def command(
    place: str,
    *,
    rules: Path | None,
    webhook: str | None,
    program: str | None,
    as_json: bool,
    forever: bool,
    **security: Any,
) -> int:
    """Judge the newest run of PLACE (a run, a folder, or HOST:PORT) by rules until it ends."""
    if webhook is not None and urlsplit(webhook).scheme not in ("http", "https"):
        raise ConfigError(f"--webhook {webhook} is no address of HTTP, such as https://example.org/hook")
    panel = alerts_panel(load_rules(rules))
    listing = find_listing(place, security)
    newest = next((facts for facts in listing.runs() if not facts.problem), None)
    if newest is None:
        raise NotARecordError("there is no run here yet; start one, or name another place", path=listing.place)
    note(f"watching {newest.name or newest.run_id}; Ctrl-C ends it")
    fold = RunFold(listing.origin(newest.key), (panel,), publish=False)
    fold.start()
    outlets = _Outlets(newest.run_id, webhook, shlex.split(program) if program else [], as_json=as_json)
    try:
        _watch(fold, outlets, forever=forever)
    except KeyboardInterrupt:
        note("stopped")
    finally:
        fold.stop()
    return PROBLEM if outlets.fired else INCOMPLETE if outlets.failed else FINE


def _watch(fold: RunFold, outlets: _Outlets, *, forever: bool) -> None:
    failure = ""
    while True:
        state = fold.state()
        if state["failure"] != failure:
            failure = state["failure"]
            if failure:
                warn(f"the run cannot be read: {failure}; trying again")
        if state["phase"] != "history":
            outlets.take(fold.ask(_findings))
        if state["phase"] == "ended" and not forever:
            return
        time.sleep(_LOOK_S)


def _findings(view: RunView, look: Look) -> list[Finding]:
    fold = view.fold(PANEL_ID)
    return fold.findings(look) if isinstance(fold, Alerts) else []


class _Outlets:
    """Where findings go: each change of a rule at a place once.

    Attributes:
        fired: something fired.
        failed: findings that a webhook or command did not take.
    """

    def __init__(self, run_id: str, webhook: str | None, program: list[str], *, as_json: bool) -> None:
        self._run_id = run_id
        self._webhook = webhook
        self._program = program
        self._as_json = as_json
        self._known: dict[tuple[str, str], AlertState] | None = None
        self.fired = False
        self.failed = 0

    def take(self, findings: list[Finding]) -> None:
        """Tell of the findings whose state has changed; what fired and cleared before the first look is no news."""
        known = self._known
        self._known = {(one.rule.name, one.place): one.state for one in findings}
        for one in findings:
            before = AlertState.QUIET if known is None else known.get((one.rule.name, one.place), AlertState.QUIET)
            news = one.state is AlertState.FIRING if known is None else one.state is not before
            if news:
                self.fired = True  # one that has cleared by now did fire since the last look
                self._tell(one)

    def _tell(self, finding: Finding) -> None:
        told = {
            "run": self._run_id,
            "rule": finding.rule.name,
            "place": finding.place,
            "state": finding.state.value,
            "value": finding.value,
            "limit": finding.rule.limit,
            "severity": finding.rule.severity.value,
            "seq": finding.seq,
            "text": finding.rule.text,
        }
        text = json.dumps(told, ensure_ascii=False)
        place = f" ({finding.place})" if finding.place else ""
        line = f"{finding.state.value}: {finding.rule.name}{place}: {finding.value}, limit {finding.rule.limit}"
        print_text(text if self._as_json else line)
        self._deliver(text, told)

    def _deliver(self, text: str, told: dict[str, Any]) -> None:
        if self._webhook is not None:
            self._try("the webhook", lambda: self._post(text))
        if self._program:
            self._try("the command", lambda: self._run(text, told))

    def _try(self, what: str, work: Any) -> None:
        for left in reversed(range(_TRIES)):
            try:
                work()
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                if not left:
                    self.failed += 1
                    warn(f"{what} did not take a finding: {error}")
                else:
                    time.sleep(_AGAIN_S)
            else:
                return

    def _post(self, text: str) -> None:
        headers = {"content-type": "application/json", "user-agent": "esper-telemetry"}
        request = urllib.request.Request(self._webhook or "", text.encode(), headers)  # noqa: S310 - checked above
        with urllib.request.urlopen(request, timeout=_ANSWER_S):  # noqa: S310 - likewise
            pass

    def _run(self, text: str, told: dict[str, Any]) -> None:
        known = {"ESPER_RULE": told["rule"], "ESPER_STATE": told["state"], "ESPER_RUN": told["run"]}
        subprocess.run(  # noqa: S603 - the user's own command, without a shell
            self._program, input=text.encode(), check=True, timeout=_COMMAND_S, env={**os.environ, **known}
        )
