"""Change one thing in a module at a time, and see whether its tests notice: seeded mutants, run against chosen tests.

    python tools/mutate.py esper_telemetry/recorder/buffer.py --mutants 50 --seed 1
    python tools/mutate.py esper_telemetry/schema --mutants 200 --tests tests/esper_telemetry/schema
    python tools/mutate.py esper_telemetry/recordfile/layout.py --list

A mutant is tried with those of the tests that run the changed line, or else the changed function, in the order of the
time they take, as long as all together take a minute. By default the tests of a file are those that bear its
name: `buffer.py` has `test_buffer*.py`. How a mutant is run: `mutation_run.py`.

A mutant is killed by a failing test, or by tests that take far longer than usual. One that survives is printed: a test
is missing, or the change makes no difference to a caller.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And, ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip
KILLED = ("killed", "slow")
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """One change.

    Attributes:
        path: the file, relative to the checkout.
        line: where it is.
        before, after: the source of the changed part.
        source: the whole file, changed.
        tree: the same, with the lines of the file as it is.
        function: the outermost function that holds it, as `Class.name`; empty if none does.
    """

    path: str
    line: int
    before: str
    after: str
    source: str
    tree: ast.Module
    function: str

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
    functions = dict(_functions(tree, "", ""))
    for number, (parent, name, index, node, other) in enumerate(list(changes(tree))):
        if number in wanted:
            _put(parent, name, index, ast.copy_location(other, node))
            source = ast.unparse(ast.fix_missing_locations(tree))
            lined = copy.deepcopy(tree)
            _put(parent, name, index, node)
            before, after = (ast.unparse(each).splitlines()[0] for each in (node, other))
            place = path.relative_to(ROOT).as_posix(), getattr(node, "lineno", 0)
            yield Mutant(*place, before, after, source, lined, functions[node])


def _functions(node: ast.AST, classes: str, function: str) -> Iterator[tuple[ast.AST, str]]:
    """Yield each part with the outermost function that holds it: defaults and decorators run before there is one."""
    yield node, function
    for name, value in ast.iter_fields(node):
        inner, prefix = function, classes
        if isinstance(node, ast.ClassDef):
            prefix = f"{classes}{node.name}."
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and name == "body":
            inner = function or classes + node.name
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _functions(child, prefix, inner)


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


def survivors(outcomes: Path) -> set[str]:
    """Return the mutants of a file of outcomes that no test killed, as they are printed; a later line counts."""
    lines = [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]
    last = {f"{each['path']}:{each['line']}: {each['before']}  ->  {each['after']}": each["outcome"] for each in lines}
    return {mutant for mutant, outcome in last.items() if outcome not in KILLED}


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
    parser.add_argument("--again", type=Path, help="try only those of the draw that survived in this file of --json")
    parser.add_argument("--json", type=Path, help="append each outcome to this file, a line each")
    given = parser.parse_args()
    files = [
        file for source in given.sources for file in (sorted(source.rglob("*.py")) if source.is_dir() else [source])
    ]
    chosen, every = drawn([file.resolve() for file in files], given.mutants, given.seed)
    print(f"{every:,} mutants of {len(files)} file(s); {len(chosen)} drawn with seed {given.seed}", flush=True)
    if given.again:
        left = survivors(given.again)
        chosen = [mutant for mutant in chosen if str(mutant) in left]
    if given.list:
        print(*chosen, sep="\n")
        return
    tests = given.tests or sorted({test for mutant in chosen for test in own_tests(mutant.path)})
    counts: Counter[str] = Counter()
    for mutant, found in tried(ROOT, chosen, tests):
        counts[found] += 1
        if found not in KILLED:
            print(f"{found}: {mutant}", flush=True)
        if given.json is not None:
            with given.json.open("a", encoding="utf-8") as file:
                file.write(
                    json.dumps({**mutant._asdict(), "source": "", "tree": "", "outcome": found, "seed": given.seed})
                    + "\n"
                )
    print(", ".join(f"{count} {found}" for found, count in counts.most_common()))


if __name__ == "__main__":
    from mutation_run import tried

    # Loaded before the forks, so that each of them need not.
    for library in ("google.protobuf.message", "hypothesis", "pytest", "zstandard"):
        importlib.import_module(library)
    main()
