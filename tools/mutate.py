"""Change one thing in a module at a time, and see whether its tests notice: seeded mutants, run against chosen tests.

    python tools/mutate.py esper_telemetry/recorder/buffer.py --mutants 50 --seed 1
    python tools/mutate.py esper_telemetry/schema --mutants 50 --tests tests/esper_telemetry/schema
    python tools/mutate.py esper_telemetry/recordfile/layout.py --list

The sources are copied; a mutant is written into the copy, so that processes which a test starts run it too, and the
checkout is never touched. For each mutant a process is forked that has pytest and the libraries loaded already and runs
the tests until the first fails. A mutant is killed by a failing test, or by tests that take ten times
as long and a minute. One that survives is printed: a test is missing, or the change makes no difference to a caller.

By default a file is tried with the tests that bear its name: `buffer.py` with `test_buffer*.py`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("esper_telemetry", "esper", "tests", "tools", "proto", "examples", "pyproject.toml")
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And, ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SLOWER, _START_S = 10, 60.0


class Mutant(NamedTuple):
    """One change.

    Attributes:
        path: the file, relative to the checkout.
        line: where it is.
        before, after: the source of the changed part.
        source: the whole file, changed.
    """

    path: str
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        """Return the place and the change in one line."""
        return f"{self.path}:{self.line}: {self.before}  ->  {self.after}"


def changed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that can take the place of `node`."""
    swapped = copy.deepcopy(node)
    if isinstance(swapped, ast.Compare) and type(swapped.ops[0]) in SWAPS:
        swapped.ops[0] = SWAPS[type(swapped.ops[0])]()  # type: ignore[call-overload]  # operators of one kind
        yield swapped
    elif isinstance(swapped, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(swapped.op) in SWAPS:
        swapped.op = SWAPS[type(swapped.op)]()  # type: ignore[assignment]  # operators of one kind
        yield swapped
    elif isinstance(swapped, ast.UnaryOp) and isinstance(swapped.op, ast.Not):
        yield swapped.operand
    elif isinstance(swapped, ast.Constant) and isinstance(swapped.value, bool):
        yield ast.Constant(not swapped.value)
    elif isinstance(swapped, ast.Constant) and isinstance(swapped.value, int):
        yield ast.Constant(swapped.value + 1)
    elif isinstance(swapped, ast.Name) and swapped.id in NAMES and isinstance(swapped.ctx, ast.Load):
        yield ast.Name(NAMES[swapped.id], ast.Load())
    else:
        yield from _other_way(swapped)


def _other_way(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what does less than a statement, or takes the other branch."""
    if isinstance(node, (ast.Break, ast.Continue)):
        yield SWAPS[type(node)]()
    elif isinstance(node, (ast.Raise, ast.Delete)) or _does_something(node):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        for value in (True, False) if not isinstance(node, ast.While) else (False,):
            decided = copy.deepcopy(node)
            decided.test = ast.Constant(value)
            yield decided


def _does_something(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and not isinstance(node.value, (ast.Constant, ast.Yield, ast.YieldFrom))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Yield (parent, field, index, node) of every part that runs: annotations and imports for types are left out."""
    for parent in ast.walk(tree):
        if getattr(parent, "skipped", False):
            continue
        for name, value in ast.iter_fields(parent):
            children = value if isinstance(value, list) else [value]
            for index, node in enumerate(children):
                if not isinstance(node, ast.AST):
                    continue
                if name in ("annotation", "returns", "decorator_list") or _for_types(node):
                    for inner in ast.walk(node):
                        inner.skipped = True  # type: ignore[attr-defined]  # a mark of our own
                else:
                    yield parent, name, index if isinstance(value, list) else None, node


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def changes(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST, ast.AST]]:
    """Yield (parent, field, index, node, other node) of every mutant of a file."""
    for place in places(tree):
        for other in changed(place[3]):
            yield *place, other


def mutants(path: Path, wanted: set[int]) -> Iterator[Mutant]:
    """Yield those mutants of a file whose numbers are wanted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for number, (parent, name, index, node, other) in enumerate(list(changes(tree))):
        if number in wanted:
            _put(parent, name, index, other)
            source = ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, name, index, node)
            before, after = (ast.unparse(each).splitlines()[0] for each in (node, other))
            yield Mutant(path.relative_to(ROOT).as_posix(), getattr(node, "lineno", 0), before, after, source)


def drawn(files: Sequence[Path], count: int, seed: int) -> tuple[list[Mutant], int]:
    """Return `count` mutants of all files, in the order of the sources, and how many there are."""
    numbers = [
        (file, number)
        for file in files
        for number, _ in enumerate(changes(ast.parse(file.read_text(encoding="utf-8"))))
    ]
    chosen = random.Random(seed).sample(numbers, min(count, len(numbers)))  # noqa: S311 - a draw, no secret
    wanted = {file: {number for each, number in chosen if each == file} for file in files}
    found = [mutant for file in files for mutant in mutants(file, wanted[file])]
    return sorted(found, key=lambda mutant: (mutant.path, mutant.line)), len(numbers)


def _put(parent: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[index] = node


def own_tests(path: str) -> list[str]:
    """Return the tests that bear the name of a file."""
    source = Path(path)
    return sorted(
        found.relative_to(ROOT).as_posix() for found in (ROOT / "tests" / source.parent).glob(f"test_{source.stem}*.py")
    )


def outcome(tests: Sequence[str], folder: Path, seconds: float) -> tuple[str, float]:
    """Run tests in a forked process; return "survived", "killed" or "slow", and the time it took."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)  # what its tests start ends with it
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        import pytest

        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests])))
    status = None
    while status is None and time.monotonic() - began < seconds:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if ended else None
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
        return "slow", time.monotonic() - began
    return "survived" if status == 0 else "killed", time.monotonic() - began


def tried(chosen: Sequence[Mutant], tests: Sequence[str]) -> Iterator[tuple[Mutant, str]]:
    """Yield each mutant with its outcome."""
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        folder = Path(name)
        for each in COPIED:
            place = ROOT / each
            copied = shutil.copytree if place.is_dir() else shutil.copy
            copied(place, folder / each)
        os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.path.insert(0, str(folder))
        usual: dict[tuple[str, ...], float] = {}
        for mutant in chosen:
            own = tuple(tests or own_tests(mutant.path))
            if own and own not in usual:
                found, seconds = outcome(own, folder, 3600)
                if found != "survived":
                    raise SystemExit(f"{' '.join(own)} fail without a mutant: mend them, or choose others by --tests")
                usual[own] = seconds
            path = folder / mutant.path
            path.write_text(mutant.source, encoding="utf-8")
            yield mutant, outcome(own, folder, usual[own] * _SLOWER + _START_S)[0] if own else "no tests"
            shutil.copy(ROOT / mutant.path, path)


def main() -> None:
    """Try mutants, and print how many were killed and which survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="files, or folders of files")
    parser.add_argument(
        "--tests", nargs="*", default=[], help="files or folders of tests; by default those of its name"
    )
    parser.add_argument("--mutants", type=int, default=50, help="how many are drawn")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--list", action="store_true", help="print the mutants that are drawn, and try none")
    parser.add_argument("--json", type=Path, help="append each outcome to this file, a line each")
    given = parser.parse_args()
    files = [
        file for source in given.sources for file in (sorted(source.rglob("*.py")) if source.is_dir() else [source])
    ]
    chosen, every = drawn([file.resolve() for file in files], given.mutants, given.seed)
    print(f"{every:,} mutants of {len(files)} file(s); {len(chosen)} drawn with seed {given.seed}", flush=True)
    if given.list:
        print(*chosen, sep="\n")
        return
    counts: Counter[str] = Counter()
    for mutant, found in tried(chosen, given.tests):
        counts[found] += 1
        if found not in ("killed", "slow"):
            print(f"{found}: {mutant}", flush=True)
        if given.json is not None:
            with given.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**mutant._asdict(), "source": "", "outcome": found, "seed": given.seed}) + "\n")
    print(", ".join(f"{count} {found}" for found, count in counts.most_common()))


if __name__ == "__main__":
    # Loaded before the forks, so that each of them need not.
    for name in ("google.protobuf.message", "hypothesis", "pytest", "zstandard"):
        importlib.import_module(name)
    main()
