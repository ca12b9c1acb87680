"""A progress bar on stderr for work that takes long; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

Item = TypeVar("Item")
# A bar is drawn ten times a second; asking it more often costs more than the work.
_STRIDE = 1024


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[float], None]]:
    """Show a bar while the body runs; it is given a function to call with what is done so far.

    Args:
        title: what is being done.
        total: what there is to do.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total or None)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def measured(paths: Sequence[Path], title: str) -> Iterator[Iterator[tuple[Path, Callable[[int, int], None]]]]:
    """Show a bar while the body works on `paths`, of which every file has a part as long as itself.

    The body is given each path with a function to call with what is done of it and what there is to do.
    """
    sizes = [path.stat().st_size if path.exists() else 0 for path in paths]
    starts = accumulate(sizes, initial=0)
    with progress(title, sum(sizes)) as show:
        yield (
            (path, partial(_share, show, start, size)) for path, start, size in zip(paths, starts, sizes, strict=False)
        )


def _share(show: Callable[[float], None], start: int, size: int, done: int, total: int) -> None:
    show(start + size * done // max(1, total))


def counted(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """Yield `items` and show how many of `total` have been taken."""
    with progress(title, total) as show:
        for done, item in enumerate(items):
            if not done % _STRIDE:
                show(done)
            yield item
