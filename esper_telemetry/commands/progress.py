"""A progress bar on stderr for work that takes long; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
# A bar is drawn ten times a second; asking it more often costs more than the work.
_STRIDE = 1024


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
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


def counted(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """Yield `items` and show how many of `total` have been taken."""
    with progress(title, total) as show:
        for done, item in enumerate(items):
            if not done % _STRIDE:
                show(done)
            yield item
