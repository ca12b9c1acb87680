"""The line of an event for people."""

from __future__ import annotations

import pytest

from esper_telemetry import read
from esper_telemetry.commands.eventtext import EventText
from esper_telemetry.commands.times import TimeFormat
from esper_telemetry.decode import StreamKeys
from esper_telemetry.v1 import training_pb2


@pytest.fixture
def line_of(record_run):
    def line(cls, /, *, color=False, keys=None, context=None, **fields):
        folder = record_run(lambda run: run.bind(**(context or {})).emit(cls, **fields))
        return EventText(TimeFormat("utc"), color=color, keys=keys).line(list(read(folder))[1])

    return line


def test_units_stand_behind_values_unless_the_name_says_them(line_of):
    line = line_of(
        training_pb2.PpoUpdateCompleted,
        context={"batch_idx": 3, "episodes_completed": 4},
        update_time_ms=12.5,
        lr=0.0003,
        entropy=1.0,
        skipped=False,
        heads=[{"head": "op", "entropy": 0.5}],
    )
    assert line.endswith(
        "#2  ppo.update_completed  [batch_idx=3 episodes_completed=4]"
        "  entropy=1nat lr=0.0003 update_time_ms=12.5 skipped=false heads=[{head: op, entropy: 0.5}]"
    )


def test_a_rate_of_named_things_reads_as_words(line_of):
    context = {"env_id": 0, "batch_idx": 1, "episodes_completed": 1}
    line = line_of(training_pb2.Throughput, context=context, step_time_ms=3.5, fps=8478.0, steps=12)
    assert line.endswith("  step_time_ms=3.5 fps=8478sample/s steps=12")


def test_text_that_is_no_plain_word_is_quoted(line_of):
    assert "name='two words'" in line_of(training_pb2.ScalarLogged, name="two words", value=1.0)
    assert "name=train/loss " in line_of(training_pb2.ScalarLogged, name="train/loss", value=1.0)


def test_a_field_that_hides_the_context_stands_with_the_fields(line_of):
    line = line_of(training_pb2.ScalarLogged, context={"step": 9}, name="n", value=1.0, step=1)
    assert line.endswith("scalar.logged  name=n value=1 step=1")


@pytest.mark.parametrize(
    ("keys", "number"),
    [
        (StreamKeys(), "#2"),
        (StreamKeys(rank=True), "r0#2"),
        (StreamKeys(rank=True, stream=True), "main:r0#2"),
    ],
    ids=["alone", "ranks", "streams"],
)
def test_what_differs_between_the_streams_stands_before_the_number(line_of, keys, number):
    line = line_of(training_pb2.ScalarLogged, keys=keys, name="n", value=1.0)
    assert line.split("  ")[1] == number


def test_a_line_begins_with_its_run_where_there_are_several(line_of):
    line = line_of(training_pb2.ScalarLogged, keys=StreamKeys(run=True, rank=True), name="n", value=1.0)
    run, _, number, *_ = line.split("  ")
    assert "-test-" in run
    assert number == "r0#2"


def test_colours_only_when_asked_for(line_of):
    assert "\x1b[" not in line_of(training_pb2.ScalarLogged, name="n", value=1.0)
    assert "\x1b[" in line_of(training_pb2.ScalarLogged, color=True, name="n", value=1.0)
