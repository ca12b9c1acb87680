"""The same work by several checkouts in turns: a process of each, which does one piece of work when it is asked to.

A bench that compares builds has a function that returns its work by name and passes it to `serve` when it is started
with `--serve`; the process that prints the table starts itself once for each checkout, with that checkout's own Python,
so that each has the library of its checkout and all have the bench of this one.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HERE = Path(__file__).resolve().parents[2]


def python_of(checkout: Path) -> str:
    """Return the Python that runs a checkout: this one for this checkout, CHECKOUT/.venv for another."""
    return sys.executable if checkout == HERE else str(checkout / ".venv" / "bin" / "python")


def serve(work: Mapping[str, Callable[[], float]]) -> None:
    """Do what each line of standard input names, and write the seconds that it states."""
    for line in sys.stdin:
        print(work[line.strip()](), flush=True)


class Worker:
    """A process of a checkout that does the work of a bench."""

    def __init__(self, checkout: Path, script: str, arguments: Sequence[str]) -> None:
        self.name = checkout.name
        self._process = subprocess.Popen(
            [python_of(checkout), script, "--serve", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def work(self, name: str) -> Callable[[], float]:
        """Return a function that has the work `name` done and returns its seconds."""
        return partial(self._seconds, name)

    def _seconds(self, name: str) -> float:
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit(f"the process of {self.name} has no pipes")
        print(name, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process of {self.name} ended during {name!r}")
        return float(answer)
