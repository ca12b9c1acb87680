from __future__ import annotations

import io

import pytest

from esper.scripts.run_summary import ProgressLine, print_summary
from esper.simic.environment import Environment, Fates
from esper.simic.training import Episode, HeuristicConfig, TrainingResult
from esper.tasks import load_task
from esper.telemetry import Hub


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(scope="module")
def task():
    return load_task("synthetic")


@pytest.fixture
def environment(task):
    environment = Environment(task, seed=1, episode=0)
    environment.begin_epoch(3, 1, terminal=False)
    return environment


def result(environment, *accuracies):
    fates = Fates(germinated=4, fossilized=1, culled=2)
    return TrainingResult([Episode(a, a, 0.0, fates, 1.0) for a in accuracies], environment.model)


def test_the_line_says_where_the_training_is_and_is_wiped_at_the_end(environment):
    stream = Terminal()
    with ProgressLine(HeuristicConfig(episodes=2, max_epochs=9), stream) as line:
        environment.validate()
        line.show(environment, environment.read(environment.measure()))
    shown = stream.getvalue()
    assert "episode 1/2  epoch 3/9  val " in shown
    assert "mid dormant" in shown
    assert shown.endswith("\r\x1b[K")


def test_nothing_is_written_to_a_pipe(environment):
    stream = io.StringIO()
    with ProgressLine(HeuristicConfig(), stream) as line:
        environment.validate()
        line.show(environment, environment.read(environment.measure()))
    assert stream.getvalue() == ""


def test_what_was_not_measured_prints_as_a_dash(task, environment, capsys):
    print_summary(task, HeuristicConfig(), result(environment, None), Hub(), None)
    rows = capsys.readouterr().out.splitlines()
    assert rows[2].split() == ["1", "—", "—", "4", "1", "2", "1", "0"]
    assert rows[3].split()[:3] == ["mean", "—", "—"]


@pytest.mark.parametrize(
    ("grown", "said"),
    [
        (88.0, "val: 88.0 % grown, 89.5 % without growth: -1.5 points"),
        (90.0, "val: 90.0 % grown, 89.5 % without growth: +0.5 points"),
        (None, "val: — grown, 89.5 % without growth: —"),
    ],
)
def test_the_control_stands_beside_whatever_the_sign(task, environment, capsys, grown, said):
    print_summary(task, HeuristicConfig(), result(environment, grown), Hub(), result(environment, 89.5))
    assert said in capsys.readouterr().out


def test_a_run_that_keeps_no_record_says_so(task, environment, capsys):
    print_summary(task, HeuristicConfig(), result(environment, 88.0), Hub(), None)
    assert capsys.readouterr().out.splitlines()[-1] == "record: none"
