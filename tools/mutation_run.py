"""Run tests against mutants: collected once, forked for each, chosen by what they run.

The sources are copied, and the checkout is never touched. A process collects the tests, and in a fork of it they run
once, so that it is known which lines and functions of the mutated files each of them reaches and how long it takes.
Then for each mutant another fork has the code of the changed function replaced, and runs the tests that reach it until
the first fails. The mutant is written into the copy as well: processes that a test starts run it too.

What no function holds (constants, defaults) was read when the tests were collected: such a mutant, and one whose code
cannot be replaced, gets a new interpreter. A line that is reached in other processes only is tried with the tests
that reach the file at all, or bear its name.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from mutate import Mutant

_COPIED = ("esper_telemetry", "esper", "tests", "tools", "proto", "examples", "pyproject.toml")
# Usual time of the tests of one mutant. They may take five times as long, and ten seconds, of a processor.
_BUDGET_S, _SLOWER, _START_S = 60.0, 5, 10.0
_MOST_BYTES = 4 << 30
# Of one function in one test: later calls cost no trace by line.
_TRACED_CALLS = 20
_REPLACED, _NEW_PROCESS = "replaced", "new process"
_Reached = dict[str, tuple[float, set[tuple[str, int]], set[tuple[str, str]]]]


class _Lines:
    """Which lines and functions of some files run, in any thread of this process."""

    def __init__(self, folder: Path, paths: Sequence[str]) -> None:
        self._paths = {str(folder / path): path for path in paths}
        self.restart()

    def restart(self) -> None:
        """Forget what ran."""
        self.lines: set[tuple[str, int]] = set()
        self.calls: dict[tuple[str, str], int] = {}

    def __call__(self, frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:  # noqa: ARG002
        path = self._paths.get(frame.f_code.co_filename)
        if path is None:
            return None
        key = path, frame.f_code.co_qualname
        calls = self.calls[key] = self.calls.get(key, 0) + 1
        if calls > _TRACED_CALLS:
            return None
        lines = self.lines

        def line(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:  # noqa: ARG001
            lines.add((path, frame.f_lineno))
            return line

        return line


class _Plan:
    """Which tests a mutant is tried with."""

    def __init__(self, reached: _Reached) -> None:
        self._reached = reached

    def of(self, mutant: Mutant) -> tuple[list[str], float]:
        """Return the names of tests, and how long they usually take."""
        named = f"test_{Path(mutant.path).stem}"

        def order(test: str) -> tuple[bool, float]:
            return (mutant.path, mutant.line) not in self._reached[test][1], self._reached[test][0]

        found = []
        for test, (_, lines, functions) in self._reached.items():
            if mutant.function:
                wanted = (mutant.path, mutant.line) in lines or any(
                    path == mutant.path and name.split(".<locals>")[0] == mutant.function for path, name in functions
                )
            else:
                wanted = any(path == mutant.path for path, _ in functions)
            if wanted:
                found.append(test)
        if not found:
            found = [
                test
                for test, (_, _, functions) in self._reached.items()
                if Path(test.split("::")[0]).stem.startswith(named) or any(path == mutant.path for path, _ in functions)
            ]
        chosen: list[str] = []
        seconds = 0.0
        for test in sorted(found, key=order):
            if not chosen or seconds + self._reached[test][0] <= _BUDGET_S:
                chosen.append(test)
                seconds += self._reached[test][0]
        return chosen, seconds


class _Collected:
    """A plugin of pytest that runs the tests once for the map and once a mutant, each time in a fork."""

    def __init__(self, folder: Path, root: Path, chosen: Sequence[Mutant], told: int) -> None:
        self._folder, self._root, self._chosen, self._told = folder, root, chosen, told

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try each mutant; tell the numbers and outcomes over the pipe."""
        from _pytest.main import pytest_runtestloop as usual_loop

        reached = self._reached(session, usual_loop)
        plan, items = _Plan(reached), {item.nodeid: item for item in session.items}
        functions: dict[str, list[FunctionType]] = {}
        for each in gc.get_objects():
            if isinstance(each, FunctionType):
                functions.setdefault(each.__code__.co_filename, []).append(each)
        for number, mutant in enumerate(self._chosen):
            tests, seconds = plan.of(mutant)
            if not tests:
                self._tell(number, "not reached", [], 0.0)
                continue
            path = self._folder / mutant.path
            code = _codes(compile(mutant.tree, str(path), "exec"))
            own = functions.get(str(path), [])
            if not mutant.function or not _fits(own, code, mutant.function):
                self._tell(number, _NEW_PROCESS, tests, seconds)
                continue

            def run(tests: list[str] = tests, code: dict[Any, CodeType] = code, own: Any = own) -> int:
                for function in own:
                    new = code.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
                    if new is not None:
                        function.__code__ = new
                session.items[:] = [items[test] for test in tests]
                session.config.option.maxfail = 1
                with contextlib.suppress(session.Failed):
                    usual_loop(session)
                return int(session.testsfailed > 0)

            with mutated(path, mutant, self._root):
                self._tell(number, in_fork(run, seconds), tests, seconds)
        return True

    def _tell(self, *facts: object) -> None:
        os.write(self._told, json.dumps(facts).encode() + b"\n")

    def _reached(self, session: pytest.Session, loop: Callable[[pytest.Session], object]) -> _Reached:
        """Run every test once; return what each reaches. One that fails is left out, and named."""
        place = self._folder / "reached.jsonl"
        lines = _Lines(self._folder, sorted({mutant.path for mutant in self._chosen}))

        class Traced:
            @pytest.hookimpl(wrapper=True)
            def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
                lines.restart()
                failed, began = session.testsfailed, time.monotonic()
                threading.settrace(lines)
                sys.settrace(lines)
                try:
                    return (yield)
                finally:
                    sys.settrace(None)
                    threading.settrace(None)
                    facts = [item.nodeid, session.testsfailed == failed, time.monotonic() - began]
                    with place.open("a", encoding="utf-8") as file:
                        file.write(json.dumps([*facts, sorted(lines.lines), sorted(lines.calls)]) + "\n")

        def run() -> int:
            session.config.pluginmanager.register(Traced())
            loop(session)
            return 0

        ended = in_fork(run, 3600)
        reached: _Reached = {}
        for text in place.read_text(encoding="utf-8").splitlines() if place.exists() else ():
            name, passed, seconds, at, functions = json.loads(text)
            if passed:
                reached[name] = seconds, {(path, line) for path, line in at}, {(path, of) for path, of in functions}
            else:
                self._tell(-1, f"fails without a mutant, left out: {name}", [], 0.0)
        self._tell(-1, f"{len(reached):,} of {len(session.items):,} tests are mapped ({ended})", [], 0.0)
        return reached


def _codes(code: CodeType) -> dict[tuple[str, int], CodeType]:
    """Return the code of a file and of all that it holds, by qualified name and first line."""
    found = {(code.co_qualname, code.co_firstlineno): code}
    for each in code.co_consts:
        if isinstance(each, CodeType):
            found |= _codes(each)
    return found


def _fits(own: Sequence[FunctionType], code: dict[tuple[str, int], CodeType], wanted: str) -> bool:
    """Return whether the function is there, and each can take its new code: what they close over is the same."""
    found = False
    for function in own:
        old = function.__code__
        new = code.get((old.co_qualname, old.co_firstlineno))
        if new is not None and len(new.co_freevars) != len(old.co_freevars):
            return False
        found |= old.co_qualname == wanted and new is not None
    return found


@contextlib.contextmanager
def mutated(path: Path, mutant: Mutant, root: Path) -> Iterator[None]:
    """Have the mutant in the copy, for processes that are started now."""
    path.write_text(mutant.source, encoding="utf-8")
    try:
        yield
    finally:
        shutil.copy2(root / mutant.path, path)  # with its time, so that what was compiled of it still fits


def in_fork(run: Callable[[], int], usual: float) -> str:
    """Run a function in a process of its own; return "survived" for 0, "slow", or "killed"."""
    limit = usual * _SLOWER + _START_S
    began = time.monotonic()
    child = os.fork()
    if not child:
        status = 3
        try:
            os.setpgid(0, 0)  # what its tests start ends with it
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
            resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
            status = run()
        finally:
            os._exit(status)
    found = None
    while found is None and time.monotonic() - began < limit * 6:
        ended, code = os.waitpid(child, os.WNOHANG)
        found = os.waitstatus_to_exitcode(code) if ended else None
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if found is None:
        os.waitpid(child, 0)
    if found is None or found == -signal.SIGXCPU:
        return "slow"
    return "survived" if found == 0 else "killed"


def _quiet() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)


def _pytest(folder: Path, arguments: Sequence[str], plugin: object = None) -> int:
    os.chdir(folder)
    _quiet()
    usual = ["-q", "-p", "no:cacheprovider", "--tb=no"]
    return int(pytest.main([*usual, *arguments], plugins=[plugin] if plugin else None))


def tried(root: Path, chosen: Sequence[Mutant], tests: Sequence[str]) -> Iterator[tuple[Mutant, str]]:
    """Yield each mutant with its outcome: killed, slow, survived, or not reached by a test.

    Args:
        root: the checkout.
        chosen: mutants of its files.
        tests: files and folders of tests, relative to it.
    """
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        folder = Path(name)
        for each in _COPIED:
            place = root / each
            if place.is_dir():
                shutil.copytree(place, folder / each)
            else:
                shutil.copy2(place, folder / each)
        os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        sys.path.insert(0, str(folder))
        # A failing example is enough, and the same ones for each mutant.
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutants", phases=phases, derandomize=True, database=None)
        hypothesis.settings.load_profile("mutants")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            try:
                _pytest(folder, tests, _Collected(folder, root, chosen, writing))
            finally:
                os._exit(0)
        os.close(writing)
        later: list[tuple[Mutant, list[str], float]] = []
        with os.fdopen(reading, encoding="utf-8") as told:
            for text in told:
                number, found, own, seconds = json.loads(text)
                if number < 0:
                    print(found, flush=True)
                elif found == _NEW_PROCESS:
                    later.append((chosen[number], own, seconds))
                else:
                    yield chosen[number], found
        os.waitpid(child, 0)
        for mutant, own, seconds in later:
            with mutated(folder / mutant.path, mutant, root):
                found = in_fork(lambda own=own: _pytest(folder, ["-x", *own]), seconds + _START_S)  # type: ignore[misc]
            yield mutant, found
