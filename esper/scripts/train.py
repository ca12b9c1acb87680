"""The command line: `python -m esper.scripts.train heuristic --task digits`.

It checks what it is given before anything is written, trains, and ends with a summary. A mistake in the
arguments is one line on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, NoReturn

import torch

from esper.kasmina.host import SLOT_IDS
from esper.scripts.run_summary import ProgressLine, early_end_told, print_summary
from esper.scripts.train_ppo import run_ppo
from esper.simic.checkpoint import CheckpointError
from esper.simic.config import POLICIES, PpoConfigError
from esper.simic.counterfactual import MODES
from esper.simic.training import HeuristicConfig, TrainingResult, train_heuristic
from esper.tasks import TASKS, Task, TaskError, load_task
from esper.telemetry import TELEMETRY_LEVELS, Hub, TelemetryError, open_hub

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
TERMINATED = 143  # 128 + SIGTERM


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line; the usage is in --help."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `python -m esper.scripts.train`."""
    parser = OneLineParser(prog="esper.scripts.train", description="Train networks that grow, and record it.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    heuristic = commands.add_parser(
        "heuristic",
        help="grow hosts by rules of thumb, one after the other",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    heuristic.set_defaults(run=run_heuristic)
    heuristic.add_argument(
        "--episodes", type=_positive, default=2, metavar="N", help="hosts to train, one after the other"
    )
    growth = heuristic.add_mutually_exclusive_group()
    growth.add_argument("--no-growth", action="store_true", help="train the control: the slots stay empty")
    growth.add_argument("--control", action="store_true", help="also train the control, unrecorded, and print both")
    add_training_arguments(heuristic)
    add_telemetry_arguments(heuristic)
    ppo = commands.add_parser("ppo", help="train a policy that grows hosts, several side by side")
    ppo.set_defaults(run=run_ppo)
    add_ppo_arguments(ppo)
    add_telemetry_arguments(ppo)
    return parser


def add_ppo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the PPO loop; what is not given comes from --config, then from the defaults."""
    add_task_arguments(parser)
    parser.add_argument(
        "--batches", type=_positive, metavar="N", help="batches to train: n_envs episodes and an update"
    )
    parser.add_argument("--n-envs", type=_positive, metavar="N", help="hosts that grow side by side")
    parser.add_argument("--max-epochs", type=_positive, metavar="N", help="inner epochs of an episode")
    parser.add_argument("--seed", type=_seed, metavar="N", help="of everything that is drawn")
    parser.add_argument(
        "--devices", type=_device, nargs="+", metavar="D", help="of the hosts in turn; the policy: first"
    )
    parser.add_argument("--slots", nargs="+", metavar="S", help=f"slots the policy may use, of {', '.join(SLOT_IDS)}")
    parser.add_argument("--counterfactual", choices=MODES, help="epochs in which it is measured; G5 needs 'every'")
    parser.add_argument("--policy", choices=POLICIES, help="what decides; 'random' and 'wait' are the controls")
    parser.add_argument("--config", metavar="FILE", help='JSON object with further settings, such as {"lr": 0.001}')
    parser.add_argument("--save", metavar="FILE", help="write a checkpoint, every ten batches and at the end")
    parser.add_argument("--resume", metavar="FILE", help="go on from a checkpoint; global_epoch goes on as well")
    parser.add_argument(
        "--telemetry-steps",
        choices=("events", "block"),
        default="events",
        help="actions as one event each, or all of a batch as one block",
    )


def add_task_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that determine what is learned."""
    parser.add_argument("--task", choices=list(TASKS), default="digits", help="what is learned")
    parser.add_argument("--data-dir", default="data", metavar="DIR", help="where the files of cifar10 are")


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments every loop has: what is trained, for how long, where."""
    add_task_arguments(parser)
    parser.add_argument(
        "--max-epochs", type=_positive, metavar="N", help="inner epochs of an episode (None: the task's)"
    )
    parser.add_argument("--seed", type=_seed, default=1, metavar="N", help="of everything that is drawn")
    parser.add_argument("--device", type=_device, default="cpu", help="cpu, cuda:0, ...")
    parser.add_argument(
        "--counterfactual",
        choices=MODES,
        default="every",
        help="epochs in which accuracy without each seed is measured; gate G5 needs it, so only with 'every'"
        " is a seed ever fossilized",
    )


def add_telemetry_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the record; none of them changes what is learned."""
    parser.add_argument("--telemetry-dir", default="runs", metavar="DIR", help="folder of the records")
    parser.add_argument("--telemetry-level", choices=TELEMETRY_LEVELS, default="normal", help="what is recorded")
    parser.add_argument(
        "--telemetry-lifecycle-only",
        action="store_true",
        help="lifecycle events flow even if the level is off; a higher level stays as it is",
    )
    parser.add_argument(
        "--control-of", metavar="RUN", help="id of the run that this one is the control of; it is recorded with it"
    )
    parser.add_argument(
        "--collector", metavar="HOST:PORT", help="also send the record there; training never waits for it"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 2 for a mistake in the arguments, 130 for an interrupt."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if torch.device(getattr(args, "device", "cpu")).type == "cpu":
        # Measured on the digits host: one thread 22 ms an epoch, two 30 ms, and only one is reproducible.
        torch.set_num_threads(1)
    try:
        with _unwound_by_sigterm():
            exit_code: int = args.run(args)
    except (TaskError, PpoConfigError, CheckpointError, TelemetryError) as error:
        print(f"{parser.prog}: error: {error}".replace("\n", " "), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return exit_code


@contextmanager
def _unwound_by_sigterm() -> Iterator[None]:
    """Let SIGTERM leave the block as SystemExit does, so that the record is closed; a second one ends the process."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    sys.exit(TERMINATED)


def run_heuristic(args: argparse.Namespace) -> int:
    """Train with the heuristic policy, record it, and print how it ended."""
    task = load_task(args.task, args.device, args.data_dir)
    config = HeuristicConfig(
        episodes=args.episodes,
        max_epochs=args.max_epochs or task.max_epochs,
        seed=args.seed,
        device=args.device,
        counterfactual=args.counterfactual,
        policy="wait" if args.no_growth else "heuristic",
    )
    with open_hub(
        args.telemetry_dir,
        name=f"{task.name}-no-growth" if args.no_growth else task.name,
        config={"task": task.name, **asdict(config)},
        level=args.telemetry_level,
        lifecycle_only=args.telemetry_lifecycle_only,
        collector=args.collector,
        control_of=args.control_of,
    ) as hub:
        with early_end_told(hub):
            result = _train(task, config, args)
        _keep_results(hub, result)
    # Outside of the run: the control leaves nothing in its record.
    control = _train(task, replace(config, policy="wait"), args) if args.control else None
    print_summary(task, config, result, hub, control)
    return 0


def _train(task: Task, config: HeuristicConfig, args: argparse.Namespace) -> TrainingResult:
    with ProgressLine(config, sys.stderr) as line:
        return train_heuristic(
            task,
            config,
            telemetry_enabled=args.telemetry_level != "off",
            lifecycle_only=args.telemetry_lifecycle_only,
            progress=line.show,
        )


def _keep_results(hub: Hub, result: TrainingResult) -> None:
    """Put the final accuracies into the run's last event."""
    if hub.run is None:
        return
    for name in ("val_accuracy", "test_accuracy"):
        mean = result.mean(name)
        if mean is not None:
            hub.run.results[name] = mean


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _device(text: str) -> str:
    """Return the device in PyTorch's form ("cuda" becomes "cuda:0"), tried out here."""
    if "," in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no device: write several apart, {text.replace(',', ' ')}")
    try:
        return str(torch.empty(0, device=text).device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here ({reason}); try cpu") from None


if __name__ == "__main__":
    sys.exit(main())
