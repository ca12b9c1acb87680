"""One attempt a launch, not one a rank; in the order of launches, whatever launches them."""

from __future__ import annotations

import itertools

import pytest

from esper_telemetry.recorder.resume import Launch, choose_attempt, current_launch
from esper_telemetry.sinks import RunStream
from esper_telemetry.v1 import record_pb2

NOBODY = Launch()


def stream(attempt: int, rank: int = 0, launch: str = "", *, writing: bool = False, parent: bytes = b"") -> RunStream:
    header = record_pb2.Header(attempt=attempt, rank=rank, launch=launch, parent_producer_id=parent)
    return RunStream(header, writing)


def torchrun(restart: int, job: str = "j") -> Launch:
    return current_launch({"TORCHELASTIC_RUN_ID": job, "TORCHELASTIC_RESTART_COUNT": str(restart)})


@pytest.mark.parametrize(
    ("environment", "launch"),
    [
        ({}, Launch("", None, "")),
        ({"MASTER_PORT": "29500"}, Launch("", None, "")),
        (
            {"TORCHELASTIC_RUN_ID": "j", "TORCHELASTIC_RESTART_COUNT": "0", "MASTER_PORT": "4711"},
            Launch("torchelastic:j:0", 0, ""),
        ),
        (
            {"TORCHELASTIC_RUN_ID": "j", "TORCHELASTIC_RESTART_COUNT": "2"},
            Launch("torchelastic:j:2", 2, "torchelastic"),
        ),
        ({"SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0"}, Launch("slurm:9:0", None, "")),
        ({"SLURM_JOB_ID": "9", "SLURM_RESTART_COUNT": "1"}, Launch("slurm:9:1", 1, "slurm")),
        (
            {"SLURM_JOB_ID": "9", "SLURM_RESTART_COUNT": "1", "TORCHELASTIC_RESTART_COUNT": "2"},
            Launch("slurm:9:1/torchelastic::2", 3, "torchelastic"),
        ),
        ({"SLURM_RESTART_COUNT": "none"}, Launch("slurm::0", None, "")),
        ({"TORCHELASTIC_RESTART_COUNT": "-1"}, Launch("torchelastic::0", None, "")),
    ],
)
def test_the_launch_is_what_the_launchers_say_in_the_environment(environment, launch):
    assert current_launch(environment) == launch


@pytest.mark.parametrize(
    ("there", "rank", "launch", "resumed", "attempt"),
    [
        ([], 0, NOBODY, False, 1),
        ([], 0, NOBODY, True, 2),  # what it resumes was sent away
        ([], 0, torchrun(2), False, 3),
        ([stream(1)], 0, NOBODY, False, 2),
        ([stream(1)], 0, NOBODY, True, 2),
        ([stream(1), stream(2)], 0, NOBODY, True, 3),
        ([stream(1)], 1, NOBODY, False, 1),  # rank 1 of the same launch, after rank 0
        ([stream(1)], 1, NOBODY, True, 2),
        ([stream(1), stream(1, 1), stream(2)], 1, NOBODY, True, 2),
        ([stream(1, writing=True)], 1, NOBODY, True, 1),
        ([stream(1, writing=True)], 0, NOBODY, False, 1),  # at the same time: no later attempt
        ([stream(1, 0, "a"), stream(2, 0, "b")], 1, Launch("b"), True, 2),
        ([stream(1, 0, "a")], 1, Launch("b"), False, 2),
        ([stream(1, 0, "a")], 0, Launch("a"), False, 2),  # a second start in one job
        ([stream(1, 0, "a")], 1, Launch("a"), True, 1),
        ([stream(1)], 0, torchrun(4), False, 5),  # attempts that died before they had a record
        ([stream(5)], 0, torchrun(0), False, 6),  # torchrun was started anew by hand
        ([stream(1), stream(1, 0, parent=b"p", writing=True)], 0, NOBODY, True, 2),  # a worker that outlived the run
    ],
)
def test_the_attempt_follows_from_what_is_there(there, rank, launch, resumed, attempt):
    assert choose_attempt(there, rank, launch, resumed=resumed) == attempt


@pytest.mark.parametrize("named", [True, False], ids=["a launcher names launches", "nobody names launches"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_ranks_in_any_order_make_one_attempt_a_launch(order, named):
    there: list[RunStream] = []
    for start in (1, 2, 3):
        launch = torchrun(start - 1) if named else NOBODY
        for rank in order:
            number = choose_attempt(there, rank, launch, resumed=start > 1)
            assert number == start
            there.append(stream(number, rank, launch.name))


def test_ranks_that_look_before_any_of_them_has_a_file_agree():
    before = [stream(1, rank) for rank in range(4)]
    assert {choose_attempt(before, rank, NOBODY, resumed=True) for rank in range(4)} == {2}
    assert {choose_attempt([], rank, NOBODY, resumed=False) for rank in range(4)} == {1}
