"""Alert rules fire for their reasons, as promtool finds; each names what to do, and metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.esper_telemetry.collector.test_operations import DEPLOY, METRIC, exposed

RULES, CASES = DEPLOY / "alerts.yaml", Path(__file__).with_name("alerts_test.yaml")
ALERT = re.compile(r"(?m)^ *- alert: (\w+)$")


def promtool(*arguments) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool (apt: prometheus) is not installed: nothing here can judge rules")
    ended = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_rules_are_rules_and_fire_as_their_cases_say(tmp_path):
    for path in (RULES, CASES):
        shutil.copy(path, tmp_path)
    assert "SUCCESS" in promtool("check", "rules", tmp_path / RULES.name)
    assert "SUCCESS" in promtool("test", "rules", tmp_path / CASES.name)


def test_every_alert_says_what_to_do_and_asks_for_metrics_that_there_are():
    text = RULES.read_text()
    names = ALERT.findall(text)
    assert len(names) == len({*names}) == text.count(" do: ") == text.count("summary: ")
    assert {name.removesuffix("_bucket") for name in METRIC.findall(text)} <= exposed()


def test_every_alert_that_stands_for_lost_or_refused_data_is_fired_by_a_case():
    cases = CASES.read_text()
    fired = set(re.findall(r"esper_(?:collector|consumer)_\w+|process_\w+", cases))
    for rule in re.split(ALERT, RULES.read_text())[2::2]:
        asked = set(re.findall(r"(?:esper_(?:collector|consumer)|process)_[a-z_]+", rule.partition("labels:")[0]))
        assert asked <= fired, f"no case has {sorted(asked - fired)}"
