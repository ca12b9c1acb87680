"""The rules of this code base, as tables: which part may import which, what is where, and under which name.

Sources are read as text and syntax trees, once, and never executed; only the last
tests import, because a public name is what an import finds.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SDK, TRAINER = "esper_telemetry", "esper"

# What each stop of a record's journey may know of the others, itself aside.
EVERYONE_KNOWS = {"errors", "clock", "wire", "v1"}
STOPS = {
    "errors", "clock", "wire", "v1", "events", "schema", "facts", "counters", "recorder", "sinks", "mirrors",
    "recordfile", "uplink", "daemon", "storage", "jetstream", "collector", "decode", "tables", "exports", "views",
    "report", "ui", "terminal", "agents", "integrations", "commands", "testing",
}  # fmt: skip
SDK_IMPORTS: dict[str, set[str]] = {
    "errors": set(),
    "clock": set(),
    "wire": set(),
    "events": {"schema"},
    "schema": set(),
    "counters": {"schema"},
    "recordfile": {"schema"},
    "sinks": {"schema", "recordfile"},
    "facts": {"schema"},
    "mirrors": {"schema", "recordfile"},
    "recorder": {"schema", "facts", "sinks", "mirrors"},
    "uplink": {"schema", "recordfile"},
    "daemon": {"recordfile"},
    "storage": {"recordfile", "daemon"},
    "jetstream": {"schema", "recordfile", "daemon", "storage"},
    "collector": {"schema", "recordfile", "daemon", "storage", "jetstream"},
    "decode": {"schema", "recordfile"},
    "tables": {"decode", "recordfile", "schema"},
    "exports": {"tables", "decode", "recordfile", "schema"},
    "views": {"decode", "schema"},
    "report": {"views", "decode", "schema"},
    "ui": {"report", "views", "decode", "schema"},
    "terminal": {"views", "decode", "schema"},
    "agents": {"ui", "report", "views", "tables", "decode"},
    "integrations": {"recorder", "counters", "schema", "events"},
    "commands": STOPS - {"testing"},
    "testing": STOPS,
    "__init__": {"recorder", "decode", "tables", "exports", "report", "events", "schema"},
    "__main__": {"commands"},
}
TRAINER_IMPORTS: dict[str, set[str]] = {
    "telemetry": {"v1"},
    "kasmina": {"telemetry"},
    "tolaria": {"kasmina", "telemetry"},
    "cifar10": set(),
    "tasks": {"cifar10", "kasmina"},
    "simic": {"kasmina", "tolaria", "tasks", "telemetry"},
    "scripts": {"cifar10", "kasmina", "simic", "tasks", "telemetry", "tolaria"},
    "__init__": set(),
}
# The only places that import a heavy package, as path prefixes.
HEAVY = {
    "torch": (
        "esper_telemetry/counters/",
        "esper_telemetry/integrations/",
        "esper/",
        "tools/learning.py",
        "tools/install_probe.py",
    ),
    "zstandard": ("esper_telemetry/recordfile/", "tools/decode_records.py"),
    "grpc": (
        "esper_telemetry/uplink/",
        "esper_telemetry/collector/",
        "esper_telemetry/decode/live.py",
        "tools/install_probe.py",
    ),
    "isal": ("esper_telemetry/recordfile/frame.py",),
    "obstore": ("esper_telemetry/recordfile/remote.py", "esper_telemetry/storage/object_archive.py"),
    "nats": ("esper_telemetry/jetstream/connection.py", "esper_telemetry/jetstream/nats_client.py"),
    "click": ("esper_telemetry/commands/",),
    "rich": ("esper_telemetry/commands/", "esper_telemetry/terminal/"),
    "textual": ("esper_telemetry/terminal/",),
    "pyarrow": ("esper_telemetry/tables/", "esper_telemetry/exports/"),
    "ptars": ("esper_telemetry/tables/",),
    "duckdb": ("esper_telemetry/tables/", "esper_telemetry/exports/"),
    "starlette": ("esper_telemetry/ui/",),
    "uvicorn": ("esper_telemetry/ui/",),
    "bokeh": ("esper_telemetry/ui/",),
    "mcp": ("esper_telemetry/agents/",),
    "sklearn": ("esper/tasks.py",),
}
# The whole surface between the trainer and the SDK.
BRIDGE = "esper/telemetry.py"
# Files that a stranger copies out of the checkout: they may import these packages and the standard library.
STANDALONE = {"tools/decode_records.py": {"google", "zstandard"}}

# One subject a file is the rule; this only catches a file that a reader cannot survey any more.
MAX_LINES = 600
# One file on purpose, so that it can be copied to where nothing of this is installed; still no longer than this.
ONE_FILE = {"tools/decode_records.py": 700}
# Names that occur twice on purpose: the same idea at the two ends of one wire.
TWICE: dict[str, str] = {
    "session.py": "collector/ and uplink/: the server's and the client's end of one producer's stream",
    "Session": "collector/session.py and uplink/session.py: the server's and the client's end of one stream",
}
VAGUE = re.compile(r"(^|_)(utils?|commons?|helpers?|managers?|misc)(_|$)", re.IGNORECASE)
VAGUE_CLASS = re.compile(r"(Utils?|Common|Helpers?|Managers?|Misc)$")
FOREIGN = {
    "a path of one machine": re.compile(r"(?<![\w.])/(?:work|farm|root|home/\w+)/"),
    "the host of a package registry": re.compile(
        r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org)\b"
    ),
}


class Import(NamedTuple):
    """One import statement: where it is and the module it names."""

    where: str
    module: str


def is_generated(path: Path) -> bool:
    return path.name.endswith(("_pb2.py", "_pb2_grpc.py")) or path.parent.name == "v1"


@cache
def sources(*folders: str) -> tuple[Path, ...]:
    """Return the hand-written Python files below `folders`, relative to the repository."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(sorted(path.relative_to(ROOT) for path in found if not is_generated(path)))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


@cache
def imports(path: Path) -> tuple[Import, ...]:
    return tuple(imports_in(tree(path), path))


def imports_in(module: ast.Module, path: Path) -> Iterator[Import]:
    """Yield all imports of a file: typing-only and lazy ones count, and `import_module("x")` too."""
    for node in ast.walk(module):
        where = f"{path.as_posix()}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (Import(where, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.parent.parts[: len(path.parent.parts) - node.level + 1] if node.level else ()
            origin = ".".join([*above, *filter(None, [node.module])])
            # `from esper_telemetry import recorder` names a module of it as well.
            yield from (Import(where, f"{origin}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (Import(where, str(a.value)) for a in node.args[:1] if isinstance(a, ast.Constant))


def home(path: Path) -> str:
    """Return the stop a file belongs to: its folder below the package, or its own name."""
    return path.parts[1].removesuffix(".py")


def demand_none(problems: list[str]) -> None:
    """Fail with one line for each problem; every line states how to fix it."""
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def test_an_import_is_seen_in_every_form():
    source = """
        import torch.nn as nn
        from esper_telemetry import recorder
        from ..sinks import file
        from . import frame
        if TYPE_CHECKING:
            from grpc import Channel
        def later():
            importlib.import_module("zstandard")
    """
    path = Path(SDK, "recordfile", "writer.py")
    assert {module for _, module in imports_in(ast.parse(textwrap.dedent(source)), path)} == {
        "torch.nn",
        "esper_telemetry.recorder",
        "esper_telemetry.sinks.file",
        "esper_telemetry.recordfile.frame",
        "grpc.Channel",
        "zstandard",
    }


@pytest.mark.parametrize(("package", "table"), [(SDK, SDK_IMPORTS), (TRAINER, TRAINER_IMPORTS)])
def test_every_import_inside_a_package_stands_in_the_import_table(package, table):
    everyone = EVERYONE_KNOWS if package == SDK else set()
    public = {name.removesuffix(".py") for name in (p.name for p in (ROOT / package).iterdir())}
    problems = []
    for path in sources(package):
        stop = home(path)
        if stop not in table:
            problems.append(f"{path}: {stop!r} has no row in the import table of this test: add one, or move the file")
            continue
        for where, module in imports(path):
            target = module.split(".")[1] if module.startswith(f"{package}.") else ""
            if target in public - table[stop] - everyone - {stop}:
                problems.append(f"{where}: {stop} may not import {package}.{target}; it may: {sorted(table[stop])}")
    demand_none(problems)


def test_the_import_tables_have_no_cycle():
    for table in (SDK_IMPORTS, TRAINER_IMPORTS):
        waiting = {stop: set(known) & set(table) for stop, known in table.items() if stop != "testing"}
        while free := [stop for stop, known in waiting.items() if not known & waiting.keys() - {stop}]:
            for stop in free:
                del waiting[stop]
        assert not waiting, f"these know each other in a circle: {sorted(waiting)}"


@cache
def files_imported(path: Path) -> frozenset[Path]:
    """Return the files of both packages that a file imports, in whatever form; itself and `__init__` files aside."""
    known, found = set(sources(SDK, TRAINER)), set()
    for _, module in imports(path):
        parts = module.split(".")
        named = (Path(*parts[:end]).with_suffix(".py") for end in range(len(parts), 1, -1))
        found |= {file for file in named if file in known}
    return frozenset(found - {path})


def test_no_files_import_each_other_in_a_circle():
    waiting = {path: set(files_imported(path)) for path in sources(SDK, TRAINER)}
    while free := [path for path, known in waiting.items() if not known & waiting.keys()]:
        for path in free:
            del waiting[path]
    # What is left is a circle or leads into one: leave out what no other file of it imports.
    while outer := [path for path in waiting if not any(path in known for known in waiting.values())]:
        for path in outer:
            del waiting[path]
    problems = [
        f"{path}: is in a circle with {', '.join(sorted(map(str, known & waiting.keys())))}: let one of them name what"
        " it needs in a Protocol, or move what both need"
        for path, known in waiting.items()
    ]
    demand_none(problems)


def test_no_file_and_no_class_has_the_name_of_another():
    places: dict[str, list[str]] = {}
    for path in sources(SDK, TRAINER):
        if not path.name.startswith("__"):
            places.setdefault(path.name, []).append(str(path))
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path))
    demand_none(
        [
            f"{name}: {', '.join(found)}; rename one of them, or give its reason in TWICE: the two ends of one wire"
            for name, found in places.items()
            if len(found) > 1 and name not in TWICE
        ]
    )


def test_a_heavy_package_is_imported_in_its_own_folder_only():
    problems = [
        f"{where}: imports {module.split('.')[0]}, which belongs to {', '.join(HEAVY[module.split('.')[0]])}"
        for path in sources(SDK, TRAINER, "tools")
        for where, module in imports(path)
        if module.split(".")[0] in HEAVY
        and not path.as_posix().startswith((*HEAVY[module.split(".")[0]], "tools/bench/"))
    ]
    demand_none(problems)


def test_the_trainer_knows_the_sdk_in_one_file_only():
    problems = [
        f"{where}: imports {module}; go through {BRIDGE}"
        for path in sources(TRAINER)
        for where, module in imports(path)
        if module.split(".")[0] == SDK and path.as_posix() != BRIDGE
    ]
    demand_none(problems)


def test_the_sdk_does_not_know_the_trainer():
    problems = [
        f"{where}: imports {module}: the trainer is a third party to the SDK"
        for path in sources(SDK)
        for where, module in imports(path)
        if module.split(".")[0] == TRAINER
    ]
    demand_none(problems)


def test_a_file_that_strangers_copy_needs_only_what_it_says():
    problems = [
        f"{where}: imports {module}; {name} may need only {sorted(allowed)} and the standard library"
        for name, allowed in STANDALONE.items()
        for where, module in imports(Path(name))
        if module.split(".")[0] not in allowed | sys.stdlib_module_names
    ]
    demand_none(problems)


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def named_by_tests() -> tuple[set[str], set[str], str]:
    """Return each module that a test imports, each name of a test file, and the text of all tests."""
    files = sources("tests")
    modules = {module for path in files for _, module in imports(path)}
    # `from package.module import name` names the module too.
    modules |= {module.rpartition(".")[0] for module in modules}
    text = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in files)
    return modules, {path.stem for path in files}, text


def test_every_module_is_named_by_a_test():
    modules, files, text = named_by_tests()
    problems = [
        f"{path}: no test imports it, runs it or bears its name"
        for path in sources(SDK, TRAINER, "tools")
        if not path.name.startswith("__")
        and "bench" not in path.parts
        and module_name(path) not in modules
        and f"test_{path.stem}" not in files
        and path.name not in text
    ]
    demand_none(problems)


def is_test(node: ast.AST) -> bool:
    """Tell a test function, or a state machine of hypothesis under the name that pytest collects."""
    if isinstance(node, ast.Assign):
        return isinstance(node.value, ast.Attribute) and node.value.attr == "TestCase"
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_")


def test_every_test_file_holds_a_test():
    empty = [
        f"{path}: holds no test"
        for path in sources("tests")
        if path.name.startswith("test_") and not any(map(is_test, ast.walk(tree(path))))
    ]
    demand_none(empty)


def test_no_file_is_longer_than_a_reader_can_hold():
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in sources(SDK, TRAINER, "tools", "tests")}
    problems = [
        f"{path}: {lines} lines; split it by subject"
        for path, lines in lengths.items()
        if lines > ONE_FILE.get(str(path), MAX_LINES)
    ]
    demand_none(problems)


def test_no_name_says_only_that_something_did_not_find_its_place():
    problems = [
        f"{path}: {part!r} says nothing; name what it does"
        for path in sources(SDK, TRAINER, "tools", "tests")
        for part in (*path.parts[:-1], path.stem)
        if VAGUE.search(part)
    ]
    problems += [
        f"{path}:{node.lineno}: class {node.name} says nothing; name what it does"
        for path in sources(SDK, TRAINER, "tools")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and VAGUE_CLASS.search(node.name)
    ]
    demand_none(problems)


def test_folders_are_one_level_deep():
    limits = {SDK: 3, TRAINER: 3, "tools": 3, "tests": 4}
    problems = [
        f"{path}: is too deep; {top} has one level of folders"
        for top, limit in limits.items()
        for path in sources(top)
        if len(path.parts) > limit
    ]
    demand_none(problems)


def test_no_committed_file_names_a_place_outside_the_repository():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of committed files")
    problems = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
        problems += [
            f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()!r} is {what}; remove it"
            for what, pattern in FOREIGN.items()
            for match in pattern.finditer(text)
        ]
    demand_none(problems)


def packages() -> list[str]:
    return [".".join(path.parent.parts) for path in sources(SDK) if path.name == "__init__.py"]


@pytest.mark.parametrize("name", packages())
def test_the_public_names_of_a_package_are_listed_found_and_documented(name):
    package = importlib.import_module(name)
    assert package.__doc__, f"{name}: the first lines of a package say its strategy and its border"
    listed = list(getattr(package, "__all__", []))
    assert len(listed) == len(set(listed)), f"{name}.__all__ names something twice"
    for public in listed:
        value = getattr(package, public)  # a name that cannot be found fails here
        if inspect.isclass(value) or inspect.isroutine(value):
            assert inspect.getdoc(value), f"{name}.{public} needs a docstring"
    exported = {
        public
        for public, value in vars(package).items()
        if not public.startswith("_")
        and not inspect.ismodule(value)
        and str(getattr(value, "__module__", "")).startswith(f"{name}.")
    }
    assert exported <= set(listed), f"{name}.__all__ lacks {sorted(exported - set(listed))}"


def run_python(code: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_importing_the_sdk_loads_nothing_heavy():
    loaded = json.loads(run_python("import esper_telemetry, sys, json; print(json.dumps(list(sys.modules)))"))
    heavy = {*HEAVY, "numpy", TRAINER} & {name.split(".")[0] for name in loaded}
    assert not heavy, f"`import esper_telemetry` imports {sorted(heavy)}: import them where they are used"
