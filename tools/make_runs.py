"""Makes real runs of the trainer, short ones, for questions over many runs.

    OMP_NUM_THREADS=1 python tools/make_runs.py runs --runs 100

Every third run is the control of the one before it. Among the first twelve, three roll back (a host is broken on
purpose), one is killed, and one is killed and begun again as its second attempt. A hundred take some minutes.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper.simic.config import PpoConfig
from esper.simic.training import HeuristicConfig, train_heuristic
from esper.simic.vectorized import VectorizedTrainer
from esper.tasks import load_task
from esper.telemetry import open_hub

if TYPE_CHECKING:
    from esper.simic.episode import EpisodeState
    from esper.tasks import Task

BATCHES, ENVS, EPOCHS = 2, 2, 6
BROKEN, KILLED, RESUMED = (3, 6, 9), 7, 10
_BREAKS_AT = 4
TASK = "digits"


def make_runs(folder: Path, count: int, name: str = TASK) -> None:
    """Make runs "run-000" and following of a task in a folder; those that are there already are left as they are."""
    task = load_task(name)
    for number in range(count):
        if (folder / name_of(number)).exists():
            continue
        if number in (KILLED, RESUMED):
            command = [sys.executable, __file__, str(folder), "--killed", str(number), "--task", name]
            subprocess.run(command, check=False, timeout=600)
        if number != KILLED:
            make_run(folder, number, task)


def name_of(number: int) -> str:
    """Return the id of a run."""
    return f"run-{number:03}"


def make_run(folder: Path, number: int, task: Task) -> None:
    """Make one run, or the second attempt at it where the first one was killed."""
    control_of = name_of(number - 1) if number % 3 == 2 else None  # noqa: PLR2004 - the third of three
    if number % 3:
        train_by_rules(folder, number, task, control_of)
    else:
        train_policy(folder, number, task)


def train_by_rules(folder: Path, number: int, task: Task, control_of: str | None) -> None:
    """Train by rules of thumb, or without growth."""
    policy = "wait" if control_of else "heuristic"
    # A control has the seed of the run that it is the control of.
    config = HeuristicConfig(episodes=1, max_epochs=3 * EPOCHS, seed=number // 3, policy=policy)
    options: dict[str, Any] = {"control_of": control_of, "run_id": name_of(number)}
    if number == RESUMED:
        options = {"resume": name_of(number), "resumed_from": {"episode": 0}}
    with open_hub(
        folder, name=f"{task.name}-{policy}", config={"task": task.name, **vars_of(config)}, **options
    ) as hub:
        result = train_heuristic(task, config)
        for accuracy in ("val_accuracy", "test_accuracy"):
            mean = result.mean(accuracy)
            if hub.run is not None and mean is not None:
                hub.run.results[accuracy] = mean


def train_policy(folder: Path, number: int, task: Task) -> None:
    """Train a policy; every other run with blocks of steps."""
    config = PpoConfig(batches=BATCHES, n_envs=ENVS, max_epochs=EPOCHS, hidden=16, seed=number, lr=0.003)
    blocks = number % 2 == 1
    facts = {"task": task.name, "loop": "ppo", **config.to_mapping()}
    with open_hub(folder, name=f"{task.name}-ppo", config=facts, step_blocks=blocks, run_id=name_of(number)) as hub:
        trainer = VectorizedTrainer({"cpu": task}, config)
        if number in BROKEN:
            break_a_host(trainer)
        with closing(trainer.train()) as batches:
            results = list(batches)
        if hub.run is not None:
            hub.run.results["test_accuracy"] = results[-1].mean("test_accuracy") or 0.0


def break_a_host(trainer: VectorizedTrainer) -> None:
    """Let the second host of the second batch compute NaN in one epoch, so that the governor rolls it back."""
    made = trainer._new_episode  # noqa: SLF001 - a fault from outside has to get in somewhere

    def new_episode(env_id: int) -> EpisodeState:
        episode = made(env_id)
        if trainer.global_epoch == 2 and env_id == 1:  # noqa: PLR2004 - the second batch
            environment = episode.environment
            environment.model.register_forward_hook(
                lambda _model, _input, output: output * (float("nan") if environment.inner_epoch == _BREAKS_AT else 1.0)
            )
        return episode

    trainer._new_episode = new_episode  # type: ignore[method-assign] # noqa: SLF001 - as above


def die(folder: Path, number: int, name: str) -> None:
    """Record a run up to its middle, and be killed."""
    config = HeuristicConfig(episodes=1, max_epochs=EPOCHS, seed=number // 3)
    with open_hub(
        folder, name=f"{name}-heuristic", config={"task": name, **vars_of(config)}, run_id=name_of(number)
    ) as hub:
        train_heuristic(load_task(name), config)
        if hub.run is not None:
            hub.run.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def vars_of(config: HeuristicConfig) -> dict[str, object]:
    """Return the settings of a configuration as plain values."""
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def main() -> None:
    """Make the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the runs")
    parser.add_argument("--runs", type=int, default=100, help="how many")
    parser.add_argument("--task", choices=("digits", "synthetic"), default=TASK, help="what is learned")
    parser.add_argument("--killed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.killed is not None:
        die(options.folder, options.killed, options.task)
    make_runs(options.folder, options.runs, options.task)


if __name__ == "__main__":
    main()
