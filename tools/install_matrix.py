"""Install the wheel and the sdist into clean environments, one after the other, and write down what happened.

    python tools/install_matrix.py                     every row; an hour, and some GB of downloads
    python tools/install_matrix.py oldest wandb        these rows only
    python tools/install_matrix.py --page docs/measurements/install.md

Each row is a virtual environment of its own: pip installs, `pip check` judges, tools/install_probe.py records a run,
reads it and tries what the row's extras promise; then the environment is deleted. Results are kept in
build/install_matrix.json, so that a row can be repeated alone; the page is made from all of them. torch is the version
that constraints.txt names. Run by hand before a release: it is no part of `make test`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "install_matrix.json"
CONSTRAINTS = ROOT / "constraints.txt"
PROBE = ROOT / "tools" / "install_probe.py"
WHEEL, SDIST = "*.whl", "*.tar.gz"
OLDEST = ("protobuf==6.30.0", "grpcio==1.72.2", "zstandard==0.23.0")
OLDEST_COLLECTOR = (
    "grpcio-health-checking==1.80.0",
    "grpcio-reflection==1.80.0",
    "grpcio-status==1.80.0",
    "isal==1.7.0",
    "prometheus-client==0.21.0",
)
EXTRAS = (
    "torch", "trainer", "cli", "collector", "query", "s3", "gymnasium", "hf", "lightning", "sb3", "torchrl", "ui",
    "nats", "mcap", "mcp", "otlp", "perfetto", "tensorboard", "wandb",
)  # fmt: skip
# Packages that pin protobuf or did, and the module of each that loads its generated code.
NEIGHBOURS = {
    "wandb": "wandb",
    "tensorboard": "tensorboard.compat.proto.event_pb2",
    "mlflow": "mlflow",
    "ray": "ray",
    "onnx": "onnx",
    "opentelemetry-exporter-otlp": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "kfp": "kfp",
}
COLUMNS = (
    "environment", "asked for beside us", "Python", "protobuf", "grpcio", "health-checking", "zstandard", "size",
    "`pip check`", "tried",
)  # fmt: skip
HEAD = """\
# Installed into clean environments

Written by `python tools/install_matrix.py --page docs/measurements/install.md`, which describes each row. Every row
imports the SDK, records a hundred events and reads them back (`record`); then it tries what its extras promise. A size
is that of the whole environment.
"""
NOTES = """
## Not tried

- torch other than the version in `constraints.txt`, and the lower bounds of extras other than `collector`.
- Python 3.14, macOS, Windows and aarch64.
- In the rows of other Pythons, extras other than `cli` and `collector`.
- Neighbours at work: their code is loaded into the process that records and collects, no more.

## What the tables show

No neighbour conflicts at the versions of the day. kfp pins protobuf 6, and pip then takes health-checking and
reflection 1.81.1 beside a newer grpcio without a word; a collector works on that set. Beside protobuf 7.34.0 to 7.35.0
those two have no version: raise protobuf to 7.35.1, or lower it to 6
([proof](../../findings/grpcio_health_checking_has_no_version_for_protobuf_7_34.sh)).

The tests of the collector passed once on protobuf 6.33.6, health-checking and reflection 1.81.1 and grpcio 1.85.3:
`pytest tests/esper_telemetry/collector`, without those of chaos, fuzzing, upgrades and alerts.
"""


@dataclass(frozen=True)
class Row:
    """An environment to try.

    Attributes:
        group: the table that it appears in.
        name: names it on the command line.
        extras: extras of ours.
        beside: other requirements.
        trials: trials of install_probe.py beyond recording and reading.
        archive: what is installed of ours.
        python: the interpreter, as a command.
    """

    group: str
    name: str
    extras: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    trials: tuple[str, ...] = ()
    archive: str = WHEEL
    python: str = sys.executable

    @property
    def neighbour(self) -> str:
        """Return the distribution whose version is shown too."""
        return self.beside[0] if self.group == "Neighbours" else ""


@dataclass
class Outcome:
    """What became of a row.

    Attributes:
        pip: "installed", or the line in which pip states why not.
        check: "clean", or what `pip check` printed.
        trials: "passed", or the last line of the error.
        versions: versions found, by distribution.
        python: version of the interpreter.
        seconds: wall time of it all.
        megabytes: size of the environment on disk.
    """

    pip: str = "not tried"
    check: str = "not tried"
    trials: str = "not tried"
    versions: dict[str, str] = field(default_factory=dict)
    python: str = ""
    seconds: float = 0.0
    megabytes: int = 0


def serving(
    group: str, name: str, beside: tuple[str, ...] = (), python: str = sys.executable, load: tuple[str, ...] = ()
) -> Row:
    """Return a row with a collector, which needs most of what neighbours pin; modules of `load` are in the process."""
    extras = ("cli", "collector")
    return Row(group, name, extras, beside, trials=(*(f"import {each}" for each in load), *extras), python=python)


def rows() -> list[Row]:
    """Return all rows; those of other interpreters where one can be started."""
    found = [
        Row("Ranges", "oldest", beside=OLDEST),
        Row("Ranges", "newest"),
        Row("Ranges", "sdist", archive=SDIST),
        serving("Ranges", "collector-oldest", OLDEST_COLLECTOR),
        serving("Ranges", "collector-protobuf-6", ("protobuf<7",)),
        serving("Ranges", "collector-protobuf-7.34", ("protobuf==7.34.2",)),  # there is no such set: findings/
        serving("Ranges", "collector-newest"),
        *(Row("Extras", f"[{extra}]", extras=(extra,), trials=(extra,)) for extra in EXTRAS),
        *(serving("Neighbours", each, (each,), load=(module,)) for each, module in NEIGHBOURS.items()),
    ]
    for minor in (12, 13, 14):
        command = interpreter(f"3.{minor}")
        if command and minor != sys.version_info.minor:
            found.append(serving("Pythons", f"python3.{minor}", python=command))
    return found


def interpreter(version: str) -> str:
    """Return a command for this version of Python, of PATH or of pyenv; "" if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for command in (shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))):
        if command and not subprocess.run([command, "-V"], capture_output=True, check=False).returncode:
            return command
    return ""


def run(command: list[str], folder: Path, seconds: int = 1800) -> tuple[int, str]:
    """Run a command outside the checkout; return its status and what it printed."""
    environment = {**os.environ, "PYTHONPATH": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} did not end within {seconds} s"
    return ended.returncode, f"{ended.stdout}\n{ended.stderr}".strip()


def last_line(text: str, start: str = "") -> str:
    """Return the last line that begins with `start`, or the last line if none does."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ([line for line in lines if line.startswith(start)] or lines or ["no output"])[-1]


def tried(row: Row, archives: Path, home: Path) -> Outcome:
    """Make the environment of `row` in the empty folder `home`, and try it."""
    outcome, began = Outcome(), time.monotonic()
    run([row.python, "-m", "venv", "--without-pip", str(home / "venv")], home)
    python = str(home / "venv" / "bin" / "python")
    outcome.python = run([python, "-V"], home)[1].removeprefix("Python ")
    archive = next(archives.glob(row.archive))
    ours = f"esper-telemetry[{','.join(row.extras)}] @ {archive.as_uri()}" if row.extras else str(archive)
    # Our own pip, and no bytecode ahead of time: a third of the time that a row takes.
    pip = [sys.executable, "-m", "pip", "--python", python]
    status, said = run([*pip, "install", "--quiet", "--no-compile", "-c", str(CONSTRAINTS), ours, *row.beside], home)
    outcome.pip = "installed" if status == 0 else last_line(said, "ERROR")
    if status == 0:
        status, said = run([*pip, "check"], home)
        outcome.check = "clean" if status == 0 else said
        status, said = run([python, str(PROBE), str(home / "trial"), *row.trials], home)
        outcome.trials = "passed" if status == 0 else last_line(said)
        code = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
        outcome.versions = json.loads(last_line(run([python, "-c", code], home)[1]))
        outcome.megabytes = sum(path.lstat().st_size for path in (home / "venv").rglob("*")) // 1_000_000
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def shown(outcome: Outcome, name: str) -> str:
    """Return the version of a distribution, or a dash."""
    return outcome.versions.get(name, "—")


def kept_results() -> dict[str, Outcome]:
    """Return what earlier calls found, by row."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {name: Outcome(**each) for name, each in kept.items()}


def page(results: dict[str, Outcome]) -> str:
    """Return the document: a table for each group."""
    text = [HEAD]
    listed = rows()
    for group in dict.fromkeys(row.group for row in listed):
        text += ["", f"## {group}", ""]
        text += [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        for row in (row for row in listed if row.group == group):
            text.append(line(row, results.get(row.name, Outcome())))
    return "\n".join(text) + "\n" + NOTES


def line(row: Row, outcome: Outcome) -> str:
    """Return the line of a row."""
    names = ("protobuf", "grpcio", "grpcio-health-checking", "zstandard")
    beside = " ".join(f"`{each}`" for each in row.beside) or "—"
    if row.neighbour:
        beside = f"{row.neighbour} {shown(outcome, row.neighbour)}"
    extras = f" [{','.join(row.extras)}]" if row.extras and row.group != "Extras" else ""
    result = f"{', '.join(('record', *row.trials))}: {outcome.trials}"
    if outcome.pip != "installed":
        result = f"pip: {outcome.pip.partition(': for help')[0]}"
    cells = [
        f"{row.name}{extras}",
        beside,
        outcome.python or "—",
        *(shown(outcome, name) for name in names),
        f"{outcome.megabytes} MB" if outcome.megabytes else "—",
        outcome.check,
        result,
    ]
    return "| " + " | ".join(cell.replace("\n", "<br>").replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Try the rows that are named, or all of them, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="rows, by their names; all of them if none is given")
    parser.add_argument("--page", type=Path, help="write the tables of all kept results to this file, and try nothing")
    chosen = parser.parse_args()
    known = {row.name: row for row in rows()}
    unknown = [name for name in chosen.names if name not in known]
    if unknown:
        parser.error(f"there is no row {unknown[0]!r}; the rows are {', '.join(known)}")
    if chosen.page is not None:
        chosen.page.write_text(page(kept_results()), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory(prefix="install-matrix-") as built:
        build = [sys.executable, "-m", "build", "--no-isolation", "-o", built, str(ROOT)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        for name in chosen.names or known:
            with tempfile.TemporaryDirectory(prefix="install-") as home:
                outcome = tried(known[name], Path(built), Path(home))
            print(line(known[name], outcome), f"{outcome.seconds} s", flush=True)
            results = {**kept_results(), name: outcome}  # read again: two of these may run at once
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps({each: asdict(kept) for each, kept in results.items()}, indent=1))


if __name__ == "__main__":
    main()
