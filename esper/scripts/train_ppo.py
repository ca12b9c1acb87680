"""The `ppo` command: checks everything before it writes anything, trains, saves, and prints how it ended."""

from __future__ import annotations

import json
import math
import time
from contextlib import closing
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from esper.scripts.run_summary import UNMEASURED, early_end_told, print_record
from esper.simic import checkpoint
from esper.simic.config import PpoConfig, PpoConfigError
from esper.simic.features import FEATURES
from esper.simic.reports import report_checkpoint
from esper.simic.vectorized import VectorizedTrainer
from esper.tasks import load_task
from esper.telemetry import TelemetryEventType, open_hub

if TYPE_CHECKING:
    import argparse

    from esper.simic.episode import BatchResult
    from esper.telemetry import Hub

SAVE_EVERY = 10
_FLAGS = ("batches", "n_envs", "max_epochs", "seed", "devices", "slots", "counterfactual", "policy")


def run_ppo(args: argparse.Namespace) -> int:
    """Train a policy, record it, and print how it ended."""
    config = PpoConfig.from_mapping(_settings(args))
    tasks = {device: load_task(args.task, device, args.data_dir) for device in config.devices}
    started = time.perf_counter()
    start = _starting_point(args, config)
    loading_s = time.perf_counter() - started
    if args.save:
        checkpoint.check_writable(args.save)
    trainer = VectorizedTrainer(
        tasks,
        config,
        telemetry_enabled=args.telemetry_level != "off",
        lifecycle_only=args.telemetry_lifecycle_only,
    )
    if start is not None:
        with checkpoint.damage_named(args.resume):
            trainer.load(start)
    facts = {"task": args.task, "loop": "ppo", "resumed_at": trainer.global_epoch, **config.to_mapping()}
    with open_hub(
        args.telemetry_dir,
        name=f"{args.task}-{config.policy}",
        config=facts,
        level=args.telemetry_level,
        lifecycle_only=args.telemetry_lifecycle_only,
        collector=args.collector,
        control_of=args.control_of,
        step_blocks=args.telemetry_steps == "block",
    ) as hub:
        results = []
        if start is not None:
            loaded = TelemetryEventType.CHECKPOINT_LOADED
            report_checkpoint(hub, loaded, args.resume, seconds=loading_s, batch_idx=trainer.global_epoch)
        with early_end_told(hub), closing(trainer.train()) as batches:
            for result in batches:
                results.append(result)
                _print_batch(result, len(results), config.batches)
                if args.save and (len(results) == config.batches or len(results) % SAVE_EVERY == 0):
                    _save(hub, args, trainer)
        _keep_results(hub, results)
    _print_summary(results, args.save)
    print_record(hub, sum(result.seconds for result in results), batches=len(results))
    return 0


def _save(hub: Hub, args: argparse.Namespace, trainer: VectorizedTrainer) -> None:
    """Write a checkpoint and report it."""
    started = time.perf_counter()
    checkpoint.save(args.save, {"task": args.task, **trainer.state()})
    seconds = time.perf_counter() - started
    report_checkpoint(
        hub, TelemetryEventType.CHECKPOINT_SAVED, args.save, seconds=seconds, batch_idx=trainer.global_epoch
    )


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Join the configuration file and the flags; a flag wins."""
    settings = _read_config(args.config) if args.config else {}
    return settings | {name: value for name in _FLAGS if (value := getattr(args, name)) is not None}


def _read_config(path: str) -> dict[str, Any]:
    try:
        settings = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise PpoConfigError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise PpoConfigError(f"{path} is no JSON: {error}") from error
    if not isinstance(settings, dict):
        raise PpoConfigError(f"{path} holds a {type(settings).__name__}: it must be a JSON object")
    return settings


def _starting_point(args: argparse.Namespace, config: PpoConfig) -> dict[str, Any] | None:
    if not args.resume:
        return None
    state = checkpoint.load(args.resume)
    with checkpoint.damage_named(args.resume):
        checkpoint.check_fits(state, task=args.task, config=config.to_mapping(), features=FEATURES)
    return state


def _keep_results(hub: Hub, results: list[BatchResult]) -> None:
    """Put the last batch into the run's last event."""
    if hub.run is None:
        return
    hub.run.results["mean_return"] = results[-1].mean_return
    for name in ("val_accuracy", "test_accuracy"):
        mean = results[-1].mean(name)
        if mean is not None:
            hub.run.results[name] = mean


def _print_batch(result: BatchResult, number: int, batches: int) -> None:
    update = result.update.metrics if result.update is not None else {}
    cells = (
        f"batch {number}/{batches}",
        f"val {_percent(result.mean('val_accuracy'))}",
        f"return {result.mean_return:.2f}",
        f"entropy {_number(update.get('entropy'))}",
        f"kl {_number(update.get('kl_divergence'))}",
        f"{result.seconds:.1f} s",
    )
    print("  ".join(cells), flush=True)


def _print_summary(results: list[BatchResult], saved: str | None) -> None:
    """Print returns at both ends, accuracies and seeds by fate; whatever the sign."""
    share = math.ceil(len(results) / 5)
    first, last = results[:share], results[-share:]
    print(f"return: {_mean_return(first)} in the first fifth of batches, {_mean_return(last)} in the last")
    for name in ("val_accuracy", "test_accuracy"):
        means = [mean for result in last if (mean := result.mean(name)) is not None]
        print(f"{name.removesuffix('_accuracy')}: {_percent(fmean(means) if means else None)} in the last fifth")
    fates = [state.environment.fates for result in results for state in result.episodes]
    counts = {name: sum(getattr(fate, name) for fate in fates) for name in ("germinated", "fossilized", "culled")}
    counts["rollbacks"] = sum(fate.rollbacks for fate in fates)
    print(f"{len(fates)} episodes: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    if saved:
        print(f"checkpoint: {saved}")


def _mean_return(results: list[BatchResult]) -> str:
    return f"{fmean(result.mean_return for result in results):.2f}"


def _percent(value: float | None) -> str:
    return UNMEASURED if value is None else f"{value:.1f} %"


def _number(value: float | None) -> str:
    return UNMEASURED if value is None else f"{value:.3f}"
