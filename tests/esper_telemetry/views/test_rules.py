"""Rules: they fire after so many bad measurements and clear after so many good ones; missing ones do neither."""

from __future__ import annotations

import math

import pytest

from esper_telemetry import read
from esper_telemetry.errors import ConfigError
from esper_telemetry.v1 import process_pb2, run_pb2, training_pb2
from esper_telemetry.views import AlertState, Look, RunView, alerts_panel, load_rules
from esper_telemetry.views.alerts import PANEL_ID
from esper_telemetry.views.rules import DEFAULT_RULES, AlertRule, RuleKind, RuleStates, values_at

KL = """
[[rule]]
name = "kl"
kind = "threshold"
event = "ppo.update_completed"
field = "kl_divergence"
above = 0.05
clear = 0.03
after = 2
clear_after = 2
"""


def kl(*values):
    return [
        (training_pb2.PpoUpdateCompleted(**({} if value is None else {"kl_divergence": value})), {"batch_idx": at})
        for at, value in enumerate(values, 1)
    ]


@pytest.fixture
def judged(tmp_path, write_record):
    """A function that returns what rules find in a record of some messages."""

    def judge(rules: str | None, *frames, now_ns=None, **options):
        path = None
        if rules is not None:
            path = tmp_path / "rules.toml"
            path.write_text(rules)
        view = RunView((alerts_panel(load_rules(path)),))
        record = tmp_path / f"{len(list(tmp_path.iterdir()))}.esr.zst"
        view.feed(read(write_record(*frames, path=record, **options), strict=False))
        return view.fold(PANEL_ID).findings(Look(view.facts, now_ns=now_ns)), view

    return judge


@pytest.mark.parametrize(
    ("values", "state", "times"),
    [
        ((0.1,), None, 0),
        ((0.1, 0.1), "firing", 2),
        ((0.1, 0.0, 0.1), None, 0),
        ((0.1, None, 0.1), "firing", 2),
        ((0.1, math.nan, 0.1), None, 0),
        ((0.1, 0.1, 0.0), "firing", 2),
        ((0.1, 0.1, 0.0, 0.04, 0.0), "firing", 2),
        ((0.1, 0.1, 0.0, 0.0), "cleared", 2),
        ((0.1, 0.2, 0.0, 0.0, 0.3), "cleared", 3),
        ((0.1, 0.1, 0.0, 0.0, 0.3, 0.3), "firing", 4),
    ],
    ids=str,
)
def test_a_threshold_has_hysteresis_in_both_directions(judged, values, state, times):
    findings, _ = judged(KL, kl(*values))
    assert [(one.state.value, one.times) for one in findings] == ([(state, times)] if state else [])


def test_a_finding_names_the_worst_value_and_its_event(judged):
    (finding,), _ = judged(KL, kl(0.06, 0.3, 0.07))
    assert (finding.value, finding.seq, finding.rule.limit) == ("0.3000", 2, "> 0.05000, 2 in a row")


def test_ranks_environments_and_parts_have_states_of_their_own(judged):
    heads = [[{"head": "op", "entropy": 0.0}, {"head": "slot", "entropy": 1.0}]] * 3
    updates = [(training_pb2.PpoUpdateCompleted(heads=one), {"batch_idx": at}) for at, one in enumerate(heads, 1)]
    findings, _ = judged(None, updates)
    assert [(one.rule.name, one.place) for one in findings] == [("head decides nothing", "heads op")]


def test_what_is_not_finite_fires_by_the_name_of_the_value(judged):
    scalars = [
        (training_pb2.ScalarLogged(name="a", value=math.inf), {}),
        (training_pb2.ScalarLogged(name="b", value=1.0), {}),
    ]
    findings, _ = judged(None, scalars)
    assert [(one.place, one.value) for one in findings] == [("a", "∞")]


def test_lost_events_and_a_failed_run_are_bad(judged, scalars):
    ended = [(run_pb2.RunFinished(outcome="RUN_OUTCOME_FAILED", offered=6), {})]
    findings, _ = judged(None, scalars(2), ended, shed=3)
    assert [(one.rule.name, one.value, one.rule.severity.value) for one in findings] == [
        ("events lost", "3 events", "bad"),
        ("run did not complete", "failed", "bad"),
    ]


def test_absence_and_staleness_are_judged_by_times_of_events(judged, scalars):
    rules = """
        [[rule]]
        name = "no update"
        kind = "absence"
        event = "ppo.update_completed"
        within_s = 0.001
        [[rule]]
        name = "stale"
        kind = "staleness"
        event = "scalar.logged"
        within_s = 60
    """
    findings, view = judged(rules, scalars(5))
    assert [one.rule.name for one in findings] == ["no update"]
    later = view.fold(PANEL_ID).findings(Look(view.facts, now_ns=view.facts.last_ns + 100 * 10**9))
    assert [one.rule.name for one in later] == ["no update", "stale"]
    with_update, _ = judged(rules, [*kl(0.1), *scalars(1)])
    assert with_update == []


def test_a_verdict_without_anything_to_judge_is_not_all_clear(judged):
    _, view = judged(KL, [(process_pb2.RunProgress(done=1), {})])
    (strip,) = view.panel_figures(PANEL_ID).figures
    assert strip.text == "NOTHING TO JUDGE: none of 1 rules had events"
    assert strip.tone.value == "muted"
    _, view = judged(KL, kl(0.01))
    assert view.panel_figures(PANEL_ID).figures[0].text == "ALL CLEAR: the rule was judged"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "holds \\[\\[rule\\]\\] tables"),
        ("[[rule", "no TOML"),
        ('[[rule]]\nname="a"\nkind="odd"\nevent="e"', "kind is 'odd'; there are: threshold"),
        ('[[rule]]\nname="a"\nkind="threshold"\nevent="e"\nfield="f"', "either above or below"),
        ('[[rule]]\nname="a"\nkind="threshold"\nevent="e"\nabove=1', "needs a field"),
        ('[[rule]]\nname="a"\nkind="loss"\nabov=1', "'abov' is no setting of a rule"),
        ('[[rule]]\nname="a"\nkind="loss"\nmin_lost=0', "at least 1"),
        ('[[rule]]\nname="a"\nkind="loss"\nmin_lost="many"', "must be of type int"),
        ('[[rule]]\nname="a"\nkind="threshold"\nevent="e"\nfield="f"\nabove=1\nclear=2', "itself beyond"),
        ('[[rule]]\nname="a"\nkind="absence"\nevent="e"', "needs within_s"),
        ('[[rule]]\nname="a"\nkind="occurs"', "needs an event"),
        ('[[rule]]\nkind="loss"', "needs a name"),
        ('[[rule]]\nname="a"\nkind="loss"\nseverity="fatal"', "severity is 'fatal'"),
    ],
    ids=lambda value: "".join(value.split())[-24:],
)
def test_a_wrong_rule_is_an_error_that_names_it(tmp_path, text, message):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_rules(path)


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: the rules cannot be read"):
        load_rules(tmp_path / "nowhere.toml")


def test_the_default_rules_are_a_file_that_can_be_copied(tmp_path):
    copy = tmp_path / "mine.toml"
    copy.write_bytes(DEFAULT_RULES.read_bytes())
    assert load_rules(copy) == load_rules()


def test_values_are_found_in_messages_and_maps():
    data = {"heads": [{"head": "op", "entropy": 1.0}], "results": {"a.b": 2.0}, "loss": 3.0, "list": [4.0]}
    assert list(values_at(data, "heads.entropy")) == [("heads op", 1.0)]
    assert list(values_at(data, "results.a.b")) == [("a.b", 2.0)]
    assert list(values_at(data, "results")) == [("a.b", 2.0)]
    assert list(values_at(data, "loss")) == [("", 3.0)]
    assert list(values_at(data, "list")) == [("list[0]", 4.0)]
    assert list(values_at(data, "absent.field")) == []


def test_a_rule_starts_quiet():
    states = RuleStates(AlertRule("loss", RuleKind.LOSS))
    assert not states.places
    assert AlertState.QUIET.value == "quiet"
