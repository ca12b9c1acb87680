"""What a person sees of a run: a progress line on a terminal, and a summary at the end.

A value that was not measured prints as a dash. Words and numbers only; nothing here is read by a program.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from esper.simic.environment import Environment, EpochResult
    from esper.simic.training import Episode, HeuristicConfig, TrainingResult
    from esper.tasks import Task
    from esper.telemetry import Hub

UNMEASURED = "—"
CLEAR_LINE = "\r\x1b[K"


class ProgressLine:
    """One line that is written over, on a terminal; silent elsewhere."""

    def __init__(self, config: HeuristicConfig, stream: TextIO) -> None:
        self._config = config
        self._stream = stream
        self._shown = stream.isatty()

    def show(self, environment: Environment, result: EpochResult) -> None:
        """Say where the training is."""
        if not self._shown:
            return
        slots = "  ".join(
            f"{slot_id} {slot.stage.name.lower()}" + (f" {slot.alpha:.2f}" if 0 < slot.alpha < 1 else "")
            for slot_id, slot in environment.slots.items()
        )
        kind = "control" if self._config.policy == "wait" else "episode"
        line = (
            f"{kind} {environment.episode + 1}/{self._config.episodes}"
            f"  epoch {environment.inner_epoch}/{self._config.max_epochs}"
            f"  val {_percent(result.val_accuracy)}  {slots}"
        )
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(CLEAR_LINE + line[:width])
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._stream.write(CLEAR_LINE)
            self._stream.flush()


def print_summary(
    task: Task, config: HeuristicConfig, result: TrainingResult, hub: Hub, control: TrainingResult | None
) -> None:
    """Print accuracy, seeds by fate, what was recorded, and what to type next."""
    seconds = sum(episode.seconds for episode in result.episodes)
    print(
        f"{task.name}: {config.episodes} x {config.max_epochs} epochs in {seconds:.1f} s"
        f" on {config.device}, seed {config.seed}"
    )
    _print_episodes(result)
    if control is not None:
        _print_control(result, control)
    print_record(hub, seconds, batches=config.episodes)


def _print_episodes(result: TrainingResult) -> None:
    header = ("", "val", "test", "seeds", "fossilized", "culled", "still live", "rollbacks")
    rows = [header, *(_row(str(n), one) for n, one in enumerate(result.episodes, start=1))]
    mean = ("mean", _percent(result.mean("val_accuracy")), _percent(result.mean("test_accuracy")))
    fates = [one.fates for one in result.episodes]
    total = (
        str(sum(fate.germinated for fate in fates)),
        str(sum(fate.fossilized for fate in fates)),
        str(sum(fate.culled for fate in fates)),
        str(sum(fate.live for fate in fates)),
        str(sum(fate.rollbacks for fate in fates)),
    )
    rows.append((*mean, *total))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    for row in rows:
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def _row(name: str, episode: Episode) -> tuple[str, ...]:
    fates = episode.fates
    counts = (fates.germinated, fates.fossilized, fates.culled, fates.live, fates.rollbacks)
    return (name, _percent(episode.val_accuracy), _percent(episode.test_accuracy), *map(str, counts))


def _print_control(result: TrainingResult, control: TrainingResult) -> None:
    """Print the same hosts without growth; whatever the sign."""
    for accuracy in ("val_accuracy", "test_accuracy"):
        grown, plain = result.mean(accuracy), control.mean(accuracy)
        name = accuracy.removesuffix("_accuracy")
        change = UNMEASURED if grown is None or plain is None else f"{grown - plain:+.1f} points"
        print(f"  {name}: {_percent(grown)} grown, {_percent(plain)} without growth: {change}")
    print("  (same initialisation and order of data; a few episodes do not separate such differences from chance)")


def print_record(hub: Hub, seconds: float, *, batches: int) -> None:
    """Print what was recorded, what that cost, and what to type next."""
    if hub.run is None or hub.run.folder is None:
        print("record: none")
        return
    stats = hub.run.stats()
    files = hub.run.paths
    print(f"record: {', '.join(map(str, files))}")
    print(
        f"  {sum(stats.recorded.values()):,} events of {len(stats.recorded)} types,"
        f" {_size(files):,} bytes, {stats.dropped:,} lost"
    )
    reads = hub.counter_reads / batches
    print(
        f"  telemetry {100 * hub.share_of(seconds):.2f} % of step time,"
        f" {reads:.3g} counter read{'' if reads == 1 else 's'} per batch, {stats.dropped:,} dropped"
    )
    for name, count in sorted(stats.recorded.items()):
        print(f"  {count:>8,}  {name}")
    for (name, cause), count in sorted(stats.drops.items()):
        print(f"  lost {count:,} {name}: {cause}")
    print(_next(hub.run.folder))


@contextmanager
def early_end_told(hub: Hub) -> Iterator[None]:
    """Say where the record is of a run that Ctrl-C or a signal ends inside the block."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if hub.run is not None and hub.run.folder is not None:
            print(f"\nwhat was recorded so far can be read\n{_next(hub.run.folder)}", file=sys.stderr)
        raise


def _size(files: Iterable[Path]) -> int:
    """Return the bytes that files have now: compaction at the end of a run leaves fewer than were written."""
    sizes = 0
    for path in files:
        with suppress(OSError):
            sizes += path.stat().st_size
    return sizes


def _next(folder: Path) -> str:
    return f"next: {_reader()} info {shlex.quote(str(folder))}"


def _reader() -> str:
    """Return the reader's command as it can be typed here."""
    name = "esper-telemetry"
    beside = Path(sys.executable).with_name(name)
    if shutil.which(name) or not beside.exists():
        return name
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)


def _percent(value: float | None) -> str:
    return UNMEASURED if value is None else f"{value:.1f} %"
