"""The page of twelve questions: each line is run over real runs and answers what Python computes from `read()`.

Among the runs are three with rollbacks, one that was killed and one that was resumed (tools/make_runs.py).
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import pytest

import esper_telemetry as et
from esper_telemetry.decode import summarize
from esper_telemetry.tables import RecordWarning

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "analysts.md").read_text()
QUESTIONS = re.findall(r"^### (\d+)\. (.*?)$.*?^```sql\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    command = [sys.executable, ROOT / "tools" / "make_runs.py", folder, "--runs", "12", "--task", "synthetic"]
    subprocess.run(command, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"})
    return folder


@pytest.fixture(scope="module")
def events(runs):
    """All events by type, each stream in the order of its numbers."""
    found = defaultdict(list)
    for event in et.read(runs / "*"):
        found[event.type].append(event)
    return found


def ask(sql, runs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordWarning)  # the killed run is not complete
        return [tuple(row.values()) for row in et.query(sql, runs / "*").to_pylist()]


def best_variance(events, runs):
    found = [
        (e.data["explained_variance"], e) for e in events["ppo.update_completed"] if "explained_variance" in e.data
    ]
    best, event = max((value, event) for value, event in found if math.isfinite(value))
    return [(event.run_id, event.data["batch_idx"], best)]


def entropy_collapse(events, runs):
    by_run = defaultdict(list)
    for event in events["ppo.update_completed"]:
        by_run[event.run_id].append((event.data.get("entropy"), event.data["batch_idx"]))
    fallen = {
        run: [batch for entropy, batch in found if entropy is not None and entropy < 0.9 * found[0][0]]
        for run, found in by_run.items()
    }
    return [(run, min(batches)) for run, batches in sorted(fallen.items()) if batches]


def survival(events, runs):
    seeds, culled, epochs = Counter(), Counter(), Counter()
    for name in ("seed.culled", "seed.fossilized", "seed.ended"):
        for event in events[name]:
            slot = event.data["slot_id"]
            seeds[slot] += 1
            culled[slot] += name == "seed.culled"
            epochs[slot] += event.data["epochs_total"]
    return [
        (slot, seeds[slot], culled[slot], epochs[slot] / culled[slot] if culled[slot] else None)
        for slot in sorted(seeds)
    ]


def mask_hits(events, runs):
    hit, total = Counter(), Counter()
    for event in events["policy.mask_hit_rates"]:
        for head in event.data["heads"]:
            hit[head["head"]] += head["hit"]
            total[head["head"]] += head["total"]
    return [(head, hit[head] / total[head]) for head in sorted(total)]


def culls(events, runs):
    found = Counter((event.data["reason"], event.data["from_stage"]) for event in events["seed.culled"])
    return [(*key, count) for key, count in sorted(found.items())]


def slowest_env(events, runs):
    time, steps = Counter(), Counter()
    for event in events["perf.throughput"]:
        if "env_id" in event.data:
            where = event.run_id, event.data["env_id"]
            time[where] += event.data["step_time_ms"] * event.data["steps"]
            steps[where] += event.data["steps"]
    (run, env), each = max(((where, time[where] / steps[where]) for where in time), key=lambda one: one[1])
    return [(run, env, each)]


def rewards(events, runs):
    total = Counter()
    for event in events["reward.summary"]:
        for name, value in event.data["summary"].items():
            total[event.run_id, name] += value
    return [(*where, total[where]) for where in sorted(total)]


def rollbacks(events, runs):
    rows = []
    for event in events["governor.rolled_back"]:
        where = event.run_id, event.data["env_id"], event.data["episode"]
        good = [
            other.data
            for other in events["epoch.completed"]
            if (other.run_id, other.data["env_id"], other.data.get("episode")) == where
            and other.seq < event.seq
            and math.isfinite(other.data.get("val_loss", math.nan))
        ]
        last = good[-1] if good else {}
        rows.append(
            (*where, event.data["inner_epoch"], event.data["reason"], last.get("inner_epoch"), last.get("val_loss"))
        )
    return sorted(rows)


def forced(events, runs):
    found = [e.data["op_forced"] for e in events["policy.action_taken"] if "op_forced" in e.data]
    return [(sum(found) / len(found), len(found))]


def phases(events, runs):
    time, times = Counter(), Counter()
    for event in events["phase.timed"]:
        time[event.data["phase"]] += event.data["duration_ms"] / 1000
        times[event.data["phase"]] += 1
    return [(phase, time[phase], times[phase]) for phase in sorted(time)]


def unavailable(events, runs):
    found = Counter((event.data["available"], event.data.get("reason")) for event in events["counterfactual.computed"])
    return [(*key, found[key]) for key in sorted(found, key=lambda key: (key[0], key[1] is None, key[1] or ""))]


def controls(events, runs):
    results = {
        stream.run_id: stream.finished.get("results", {})
        for stream in sorted(summarize(runs / "*").streams, key=lambda stream: stream.attempt)
    }
    pairs = sorted({(e.data["control_of"], e.run_id) for e in events["run.started"] if "control_of" in e.data})
    return [
        (run, control, results[run]["test_accuracy"] - results[control]["test_accuracy"] if results[run] else None)
        for run, control in pairs
    ]


COMPUTED = [
    best_variance,
    entropy_collapse,
    survival,
    mask_hits,
    culls,
    slowest_env,
    rewards,
    rollbacks,
    forced,
    phases,
    unavailable,
    controls,
]


def test_there_are_twelve_questions_each_one_line_and_one_computation():
    assert [int(number) for number, _, _ in QUESTIONS] == list(range(1, 13))
    assert not [title for _, title, sql in QUESTIONS if "\n" in sql]
    assert len(COMPUTED) == 12


@pytest.mark.parametrize("at", range(12), ids=[f"{number}-{title}" for number, title, _ in QUESTIONS])
def test_a_line_of_the_page_answers_what_python_computes(at, runs, events):
    expected = COMPUTED[at](events, runs)
    found = ask(QUESTIONS[at][2], runs)
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert row == tuple(pytest.approx(value, rel=1e-12) if isinstance(value, float) else value for value in wanted)


def test_the_runs_hold_what_the_questions_ask_about(runs, events):
    assert len(events["governor.rolled_back"]) == 3
    outcomes = Counter(outcome for (outcome,) in ask("SELECT outcome FROM runs", runs))
    assert outcomes == {"completed": 11, "killed": 1}
    assert ask("SELECT run FROM runs WHERE attempts = 2", runs) == [("run-010",)]
    assert all(events[name] for name in ("seed.culled", "seed.ended", "policy.action_taken", "policy.mask_hit_rates"))


def test_the_python_of_the_page_runs(runs, monkeypatch):
    pytest.importorskip("pandas", reason="the page shows pandas, which is no dependency")
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(runs.parent)
    scope = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordWarning)
        exec(block.replace("runs/*", f"{runs.name}/*"), scope)  # noqa: S102 - the page is ours
    assert scope["answer"]["n"].tolist() == [12]
    assert len(scope["updates"]) > 0
