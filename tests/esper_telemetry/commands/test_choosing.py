"""Choosing events by relative times, the last part, batches and steps; and a choice that leaves nothing says so."""

from __future__ import annotations

import json
import time

import click
import pytest

from esper_telemetry.commands.times import AfterStart, LastPart, Moment, Part
from esper_telemetry.v1 import steps_pb2, training_pb2
from tests.esper_telemetry.conftest import START

SECOND = 1_000_000_000


@pytest.fixture
def timed(write_record):
    """A record of eleven scalars, one a second, in batches of two, with steps of their own."""
    events = [
        (training_pb2.ScalarLogged(name="n", value=float(at), step=100 + at), {"batch_idx": at // 2, "step": at})
        for at in range(11)
    ]
    return write_record(
        [(message, {**context, "time": START + at * SECOND}) for at, (message, context) in enumerate(events)]
    )


def values(cli, *arguments) -> list[int]:
    finished = cli("cat", "--json", *arguments)
    assert finished.code == 0, finished.err
    return [int(json.loads(line)["data"]["value"]) for line in finished.lines]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--since", "+8s"], [8, 9, 10]),
        (["--until", "+2s"], [0, 1]),
        (["--last", "10%"], [9, 10]),
        (["--last", "3s"], [7, 8, 9, 10]),
        (["--last", "100%"], list(range(11))),
        (["--batch", "1:2"], [2, 3, 4, 5]),
        (["--batch", "5"], [10]),
        (["--batch", "4:", "--last", "2s"], [8, 9, 10]),
        (["--step", ":102"], [0, 1, 2]),
    ],
    ids=["since", "until", "share", "length", "all", "batches", "batch", "batch-and-last", "steps"],
)
def test_events_are_chosen_by(cli, timed, options, chosen):
    assert values(cli, timed, *options) == chosen


def test_the_step_that_is_shown_is_the_one_that_is_chosen_by(cli, timed):
    (line,) = cli("cat", "--json", timed, "--step", "105").lines
    assert json.loads(line)["data"]["step"] == 105


def test_rows_of_blocks_are_chosen_by_batch_and_step(cli, record_run):
    def fill(run) -> None:
        for batch in (1, 2):
            columns = [{"field": "op", "indices": bytes([0, 1]), "labels": ["wait", "cull"], "numbers": [1, 3]}]
            block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=1, envs=2, columns=columns)
            run.bind(batch_idx=batch, device="cpu").emit(block)

    lines = cli("cat", "--json", record_run(fill), "--batch", "2").lines
    assert [json.loads(line)["data"]["batch_idx"] for line in lines] == [2, 2]


def test_a_length_of_time_counts_back_from_now():
    before = time.time_ns()
    moment = Moment().convert("1h30m", None, None)
    assert before - 5400 * SECOND <= moment <= time.time_ns() - 5400 * SECOND
    assert Moment().convert("+2.5s", None, None) == AfterStart(2_500_000_000)


def test_days_and_clock_times_are_of_today_in_utc():
    midnight = Moment().convert("today", None, None)
    assert midnight % (86_400 * SECOND) == 0
    assert midnight - Moment().convert("yesterday", None, None) == 86_400 * SECOND
    assert Moment().convert("19:11", None, None) - midnight == (19 * 60 + 11) * 60 * SECOND


@pytest.mark.parametrize("text", ["0%", "101%", "ten", "", "5"])
def test_what_is_no_part_is_refused_with_examples(text):
    with pytest.raises(click.BadParameter, match="use 10%"):
        Part().convert(text, None, None)


def test_the_last_part_is_of_the_time_or_a_length():
    assert LastPart(0.25).since(1_000, 2_000) == 1_750
    assert LastPart(None, 100).since(1_000, 2_000) == 1_900


@pytest.mark.parametrize(
    "options", [["--seq", "70:50"], ["--since", "2030-01-01"], ["--env", "99"], ["--batch", "77"]], ids=" ".join
)
@pytest.mark.parametrize("verb", ["cat", "stats"])
def test_a_choice_that_leaves_nothing_says_what_there_is(cli, timed, verb, options):
    finished = cli(verb, timed, *options)
    assert finished.code == 0
    assert "no event was chosen: the record holds 11 events with numbers 1 to 11, from 2026-" in finished.err


def test_filter_takes_relative_times_and_refuses_batches(cli, timed, tmp_path):
    assert cli("filter", timed, "--last", "2s", "-o", tmp_path / "end.esr.zst").code == 0
    assert values(cli, tmp_path / "end.esr.zst") == [8, 9, 10]
    refused = cli("filter", timed, "--batch", "1", "-o", tmp_path / "no.esr.zst")
    assert refused.code == 2
    assert "not by batch or step; cat with --batch or --step shows the numbers" in refused.err
    assert "--batch" not in cli("filter", "--help").out


def test_two_runs_are_compared_by_their_own_last_parts(cli, timed, tmp_path):
    document = json.loads(cli("diff", "--json", timed, timed, "--last", "2s").out)
    assert document["types"] == []
    assert cli("diff", "--exact", timed, timed, "--since", "+3s").code == 0
