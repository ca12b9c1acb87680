"""Nothing acked is lost, nothing stored twice, whatever is killed; a collector that acks too early is found out."""

from __future__ import annotations

import pytest

from tests.esper_telemetry.collector.chaos import Trial
from tests.esper_telemetry.collector.tampering import Tampering


@pytest.fixture
def trial(tmp_path, start_collector):
    """A function that runs a trial and returns what came of it."""
    trials = []

    def run(collector_kills: int, client_kills: int, **how):
        trials.append(Trial(tmp_path, start_collector, **how))
        return trials[-1].run(collector_kills, client_kills)

    yield run
    for each in trials:
        each.stop()


@pytest.mark.parametrize(
    ("collector_kills", "client_kills", "producers", "frames"),
    [(3, 2, 2, 500), pytest.param(8, 5, 3, 1500, marks=pytest.mark.slow)],
)
def test_kills_and_torn_files_lose_nothing_that_was_acked_and_repeat_nothing(
    trial, collector_kills, client_kills, producers, frames
):
    outcome = trial(
        collector_kills, client_kills, producers=producers, frames=frames, rate=120, early=False, seed=11
    )  # fmt: skip
    assert (outcome.lost, outcome.unfinished) == (0, 0), outcome
    assert outcome.collector_kills == collector_kills + 1


def test_a_collector_that_acks_before_it_syncs_is_found_out(trial):
    outcome = trial(2, 0, producers=2, frames=600, rate=400, early=True, seed=12)
    assert outcome.lost > 0, outcome


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_hundred_kills_lose_nothing_that_was_acked_and_repeat_nothing(trial):
    outcome = trial(150, 50, producers=4, frames=8000, rate=40, early=False, seed=13)
    assert (outcome.lost, outcome.unfinished) == (0, 0), outcome


@pytest.fixture
def tampering(tmp_path, start_collector):
    """A function that has the collector's files handled by somebody and returns what came of it."""
    trials = []

    def run(acts: int, **how):
        trials.append(Tampering(tmp_path, start_collector, **how))
        return trials[-1].run(acts)

    yield run
    for each in trials:
        each.stop()


def nothing_went_unseen(outcome) -> bool:
    unseen = (outcome.unreported, outcome.twice, outcome.changed)
    return unseen == (0, 0, 0) and outcome.counted >= outcome.missing


def test_files_that_are_handled_under_load_lose_nothing_unseen(tampering):
    outcome = tampering(8, producers=2, frames=300, rate=150, seed=14)
    assert nothing_went_unseen(outcome), outcome


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_files_that_are_handled_two_hundred_times_under_load_lose_nothing_unseen(tampering):
    outcome = tampering(200, producers=4, frames=4000, rate=80, seed=15)
    assert nothing_went_unseen(outcome), outcome
    assert len(outcome.done) >= 9, outcome
