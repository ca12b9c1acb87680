"""Servers of the log, gateways and consumers are killed while producers stream: nothing is lost, nothing stored twice.

A client believes every ack and forgets what was acked, so an ack too early would show as a loss; the last test but one
proves that it does.
"""

import pytest

from tests.esper_telemetry.jetstream import consumer_process
from tests.esper_telemetry.jetstream.nats_chaos import LogTrial
from tests.esper_telemetry.jetstream.natscluster import PROGRAMS


@pytest.fixture
def trial(tmp_path):
    """A function that runs a trial and returns what came of it."""
    trials = []

    def run(*plan: str, **how):
        trials.append(LogTrial(tmp_path, **how))
        return trials[-1].run(*plan)

    yield run
    for each in trials:
        each.stop()


@pytest.mark.slow
def test_the_leader_a_gateway_and_a_consumer_die_and_nothing_is_lost_or_doubled(trial):
    outcome = trial(
        "leader", "consumer", "gateway", producers=3, frames=900, rate=40, seed=21, gateways=2, consumers=2
    )  # fmt: skip
    assert (outcome.lost, outcome.unfinished) == (0, 0), outcome
    assert outcome.kills == {"leader": 1, "consumer": 1, "gateway": 1}
    assert outcome.left == 0, "every message was acked"


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_the_leader_of_a_log_with_tls_dies_twice_and_nothing_is_lost_or_doubled(trial, program):
    outcome = trial(
        "leader", "leader", producers=3, frames=700, rate=40, seed=24, gateways=2, consumers=2, secured=True,
        nats_server=program,
    )  # fmt: skip
    assert (outcome.lost, outcome.unfinished, outcome.left) == (0, 0, 0), outcome
    assert outcome.kills == {"leader": 2}


@pytest.mark.slow
def test_a_consumer_that_tells_before_it_stores_is_found_out(trial):
    outcome = trial(
        "consumer", "consumer", producers=2, frames=500, rate=60, seed=22, gateways=1, consumers=1, servers=1,
        program=(consumer_process.__file__, "early"),
    )  # fmt: skip
    assert outcome.lost > 0, outcome


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_deaths_of_the_leader_and_of_gateways_and_consumers_lose_nothing_and_double_nothing(trial):
    plan = ["leader"] * 10 + ["gateway", "consumer"] * 5
    plan = [plan[(7 * n) % len(plan)] for n in range(len(plan))]  # mixed, each once: 7 and 20 have no common divisor
    outcome = trial(*plan, producers=4, frames=6000, rate=40, seed=23, gateways=2, consumers=2)
    assert (outcome.lost, outcome.unfinished, outcome.left) == (0, 0, 0), outcome
