"""Verdict: all clear, or each rule that fired with its value, its threshold and its event."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.views.cell import Tone, measured, unavailable
from esper_telemetry.views.figure import Item, Strip, Table, TableColumn
from esper_telemetry.views.panel import EVERY, Fold, Look, Panel
from esper_telemetry.views.rules import AlertState, Finding, RuleStates, load_rules, reads_of_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure
    from esper_telemetry.views.rules import AlertRule

PANEL_ID = "verdict"


class Alerts(Fold):
    """The states of rules over a run.

    Args:
        rules: which ones.
    """

    def __init__(self, rules: Sequence[AlertRule]) -> None:
        self._states = [RuleStates(rule) for rule in rules]
        self._by_type: dict[str, list[RuleStates]] = {}
        for states in self._states:
            self._by_type.setdefault(states.rule.event, []).append(states)

    def add(self, event: Event) -> None:
        """Take an event that a rule reads."""
        for states in self._by_type.get(event.type, ()):
            states.add(event)

    def findings(self, look: Look) -> list[Finding]:
        """Return what has fired, what is firing and bad first."""
        found = [finding for states in self._states for finding in states.findings(look)]
        return sorted(found, key=lambda one: (one.state is not AlertState.FIRING, one.rule.severity is not Tone.BAD))

    @property
    def rules(self) -> int:
        """Number of rules."""
        return len(self._states)

    def judged(self, look: Look) -> int:
        """Return how many rules have had anything to judge."""
        return sum(states.judges(look) for states in self._states)

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the verdict, and a row for each finding."""
        found = self.findings(look)
        firing = [one for one in found if one.state is AlertState.FIRING]
        bad = sum(one.rule.severity is Tone.BAD for one in firing)
        silent = [states.rule.name for states in self._states if not states.judges(look)]
        judged = len(self._states) - len(silent)
        items = (
            Item("firing", measured(len(firing), tone=_tone(len(firing) - bad, bad))),
            Item("cleared", measured(len(found) - len(firing))),
            Item("rules judged", measured(judged, reason=f"of {len(self._states)} rules")),
            Item("rules without events", measured(len(silent), reason=", ".join(silent) or "every rule had events")),
        )
        text = _sentence(found[0]) if found else _clear(judged, len(silent))
        strip = Strip("Verdict", items, _tone(len(found) - bad, bad) if judged else Tone.MUTED, text)
        return (strip, _table(found, look)) if found else (strip,)


def _tone(warnings: int, bad: int) -> Tone:
    return Tone.BAD if bad else Tone.WARNING if warnings else Tone.GOOD


def _clear(judged: int, silent: int) -> str:
    """Return the verdict where nothing fired: a rule that had no event was not judged, and nothing is clear by it."""
    if not judged:
        return f"NOTHING TO JUDGE: none of {silent} rules had events"
    if silent:
        return f"NO RULE FIRED: {judged} judged, {silent} without events to judge"
    return f"ALL CLEAR: {'the rule was' if judged == 1 else f'all {judged} rules were'} judged"


def _sentence(finding: Finding) -> str:
    place = f" ({finding.place})" if finding.place else ""
    return f"{finding.rule.name}{place}: {finding.value}, {finding.rule.limit}"


def _table(found: Sequence[Finding], look: Look) -> Table:
    rows = [
        (
            measured(one.rule.name, tone=one.rule.severity),
            measured(one.place or "run"),
            measured(one.value, seq=one.seq),
            measured(one.rule.limit),
            measured(one.state.value, tone=one.rule.severity if one.state is AlertState.FIRING else Tone.MUTED),
            measured(one.times),
            measured(one.seq) if one.seq is not None else unavailable("no single event shows it"),
            measured(one.rule.text or "—"),
        )
        for one in found[: look.rows]
    ]
    columns = (
        TableColumn("rule"),
        TableColumn("where"),
        TableColumn("value", text="The worst one that fired it", numeric=True),
        TableColumn("threshold", text="With the number of measurements in a row that fire it"),
        TableColumn("state", text="cleared: it fired, and enough good measurements followed"),
        TableColumn("times", text="Measurements beyond the threshold", numeric=True),
        TableColumn("#", text="Sequence number of the event of that value", numeric=True),
        TableColumn("what it means"),
    )
    seqs = tuple(one.seq for one in found[: look.rows])
    return Table("Findings", columns, tuple(rows), seqs, len(found) - len(rows))


def alerts_panel(rules: Sequence[AlertRule]) -> Panel:
    """Return the verdict panel of some rules."""

    def fold() -> Fold:
        return Alerts(rules)

    reads: dict[str, tuple[str, ...]] = {**reads_of_rules(rules), EVERY: ()}
    return Panel(PANEL_ID, "Verdict", "What needs a look first.", reads, fold, always=True, foreign=True)


PANEL = alerts_panel(load_rules())
