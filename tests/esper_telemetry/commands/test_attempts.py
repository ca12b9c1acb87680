"""What the verbs say of a run that was resumed, and how they leave out what was done again."""

from __future__ import annotations

import json

import pytest

import esper_telemetry as et


@pytest.fixture
def resumed(tmp_path):
    """The folder of a run whose steps 5 to 9 were done twice."""
    for first, last, options in ((0, 10, {"run_id": "exp"}), (5, 15, {"resume": "exp", "resumed_from": {"step": 5}})):
        with et.start_run(tmp_path / "runs", name="r", **options) as run:
            for step in range(first, last):
                run.emit(et.events.ScalarLogged, name="loss", value=float(first), step=step)
    return run.folder


def test_cat_latest_prints_each_step_once(cli, resumed):
    options = ("--type", "scalar.logged", "--json")
    everything = cli("cat", resumed, *options)
    assert (everything.code, len(everything.lines)) == (0, 20)
    assert "2 attempts" in everything.err
    latest = cli("cat", resumed, "--latest", *options)
    assert latest.code == 0
    assert [json.loads(line)["data"]["step"] for line in latest.lines] == list(range(15))
    assert "done again from step 5 on" in latest.err


def test_text_tells_attempts_apart(cli, resumed):
    text = cli("cat", resumed, "--type", "run.started").out.splitlines()
    assert ["r0#1" in line for line in text] == [True, False]
    assert "r0a2#1" in text[1]


def test_cat_latest_of_a_resume_without_a_place_says_so_and_exits_3(cli, tmp_path):
    for options in ({"run_id": "exp"}, {"resume": "exp"}):
        et.start_run(tmp_path, name="r", **options).close()
    finished = cli("cat", tmp_path / "exp", "--latest")
    assert finished.code == 3
    assert "does not state where it went on (resumed_from)" in finished.err


def test_stats_counts_what_is_asked_for_and_says_what_it_counted(cli, resumed):
    def events(*options: str) -> tuple[int, str]:
        done = cli("stats", resumed, "--json", "--type", "scalar.logged", *options)
        assert done.code == 0
        return json.loads(done.out)[0]["events"], done.err

    count, said = events()
    assert count == 20
    assert "--latest" in said
    count, said = events("--latest")
    assert count == 15
    assert "left out" in said


def test_diff_speaks_of_attempts_and_compares_the_latest_outcome(cli, resumed, tmp_path):
    with et.start_run(tmp_path / "other", name="r") as run:
        for step in range(15):
            run.emit(et.events.ScalarLogged, name="loss", value=0.0 if step < 5 else 5.0, step=step)
    found = cli("diff", resumed, run.folder)
    assert found.code == 0
    assert "2 attempts" in found.err
    assert "scalar.logged" in found.out
    found = cli("diff", "--latest", "--json", "--type", "scalar.logged", resumed, run.folder)
    assert json.loads(found.out)["types"] == []


def test_merge_keeps_the_attempts_and_says_so(cli, resumed, tmp_path):
    merged = tmp_path / "merged.esr.zst"
    finished = cli("merge", resumed, "-o", merged)
    assert finished.code == 0
    assert "holds 2 attempts" in finished.err
    assert [event.attempt for event in et.read(merged)] == [event.attempt for event in et.read(resumed)]
    assert len(list(et.read(merged, latest=True))) == len(list(et.read(resumed, latest=True)))
