"""The benches of `make bench`: each in turn, shortened, then one table of what all of them found.

    python tools/bench/suite.py [--only NAME...] [--json FILE] [--document FILE] [--headlines FILE]

Each bench is a program of its own with its own tables; what it reports as a figure (figures.py) becomes a line of the
table: the median of paired ratios with its quartiles, the peer, the goal that a document states, and whether it is met.
`--json` keeps the figures with machine and versions; `--document` writes the table between the two marks of a
Markdown file, `--headlines` the few lines that the README shows. A bench that fails leaves the others to run; the exit
code is 1 then.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import VARIABLE, Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HERE = Path(__file__).resolve().parent
# What fits into a quarter of an hour on two cores; each file has more rounds and larger records by itself.
BENCHES: dict[str, list[str]] = {
    "emit": ["--rounds", "11"],
    "records": ["--events", "20000", "--window-events", "200000", "--rounds", "5"],
    "headers": [],
    "pace": ["heuristic", "ppo"],
    "reading": ["--events", "50000", "--column-events", "500000", "--rounds", "5"],
    "tables": ["--events", "200000", "--rounds", "3"],
    "counters": ["--quick"],
    "trainer": ["--quick"],
    "stream": ["--events", "100000", "--frames", "400", "--rounds", "3"],
}
PACKAGES = ("torch", "protobuf", "grpcio", "zstandard", "mcap", "orjson", "tensorboard", "torchmetrics", "duckdb")
PACKAGES_OTLP = ("opentelemetry-sdk",)
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"


def run_bench(name: str, arguments: Sequence[str], kept: Path) -> float | None:
    """Run one bench, its output on the terminal as it comes; return its seconds, None if it failed."""
    print(f"== tools/bench/{name}.py {' '.join(arguments)}", flush=True)
    began = time.monotonic()
    environment = {**os.environ, VARIABLE: str(kept), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *arguments], check=False, env=environment)
    seconds = time.monotonic() - began
    print(f"   {seconds:.0f} s{f', FAILED with {done.returncode}' if done.returncode else ''}\n", flush=True)
    return None if done.returncode else seconds


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, Python, packages."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text()) if sys.platform == "linux" else None
    return {
        "processor": model[1] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: found for name in (*PACKAGES, *PACKAGES_OTLP) if (found := _version(name))},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def table(figures: Iterable[Figure], about: Mapping[str, Any]) -> str:
    """Return the figures as a Markdown table, with the machine below it."""
    lines = ["| What | Compared with | Measured | Goal | |", "|---|---|---|---|---|"]
    for one in figures:
        digits = 0 if one.unit == " B" else 2
        spread = f" [{one.low:.2f}-{one.high:.2f}]" if one.low is not None and one.high is not None else ""
        goal = "" if one.goal is None else f"{'at least' if one.at_least else 'at most'} {one.goal:,g}{one.unit}"
        verdict = {True: "met", False: "**missed**", None: ""}[one.met]
        measured = f"{one.median:,.{digits}f}{one.unit}{spread}"
        lines.append(f"| {one.subject} | {one.of} | {measured} | {goal} | {verdict} |")
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    lines += [
        "",
        f"{about['date']}, {about['processor']}, {about['cores']} cores, Python {about['python']}; {packages}.",
    ]
    return "\n".join(lines)


def around_table(document: Path) -> tuple[str, str]:
    """Return what is before the table of a document, and what is behind it, marks included.

    Raises:
        SystemExit: the marks are not there.
    """
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{document}: no place for the table: add the lines {BEGIN} and {END}")
    return before + begin, end + after


def write_table(document: Path, text: str) -> None:
    """Put a table between the marks of a document."""
    before, after = around_table(document)
    document.write_text(f"{before}\n\n{text}\n\n{after}")


def main() -> None:
    """Run the benches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHES, metavar="NAME", help=f"of {', '.join(BENCHES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    parser.add_argument("--document", type=Path, metavar="FILE", help="put the table between its marks")
    parser.add_argument("--headlines", type=Path, metavar="FILE", help="put the few most asked for between its marks")
    options = parser.parse_args()
    for document in filter(None, (options.document, options.headlines)):
        around_table(document)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "figures.jsonl"
        kept.touch()
        took = {name: run_bench(name, BENCHES[name], kept) for name in options.only or BENCHES}
        figures = [Figure(**json.loads(line)) for line in kept.read_text().splitlines()]
    about = machine()
    text = table(figures, about)
    print(text)
    failed = [name for name, seconds in took.items() if seconds is None]
    print(f"\n{len(figures)} figures in {time.monotonic() - began:.0f} s{f'; failed: {failed}' if failed else ''}")
    if options.json:
        content = {**about, "seconds": took, "figures": [one.to_json() for one in figures]}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    if options.document:
        write_table(options.document, text)
    if options.headlines:
        write_table(options.headlines, table([one for one in figures if one.headline], about))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
