"""README and tour are run: their Python in order, in one folder, and console lines with the output that they promise.

A block marked `sh` is not run (it installs, or takes minutes), but what it names exists.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUN = ["README.md", "docs/tour.md"]
DOCUMENTS = [*RUN, "CONTRIBUTING.md", "CHANGELOG.md"]


class Block(NamedTuple):
    """A fenced block: its language, its text and its line in the document."""

    language: str
    text: str
    line: int


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text()
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)
        for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def run(command: list[str] | str, folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    finished = subprocess.run(
        command if isinstance(command, list) else ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"
    return finished.stdout


def save_file(text: str, folder: Path) -> None:
    """Write a block whose first line is a comment with its path."""
    name = text.split("\n", maxsplit=1)[0].removeprefix("// ")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def check_console(document: str, block: Block, folder: Path) -> None:
    """Run the lines that start with `$`; what stands below one is its output, with `...` for what varies."""
    for command, promised in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
        printed = run(command, folder)
        if promised:
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            same = doctest.OutputChecker().check_output(promised, printed, flags)
            assert same, f"{document}, line {block.line}: {command}\npromises:\n{promised}\nprints:\n{printed}"


def test_the_tour_runs_to_its_end_when_telemetry_is_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    said = [block.text for block in blocks("docs/tour.md") if block.language == "python" and "acme" not in block.text]
    assert any("et.read(" in text for text in said)
    assert run([sys.executable, "-W", "error", "-c", "".join(said)], tmp_path) == ""
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("document", RUN)
def test_a_document_does_what_it_promises(document, tmp_path):
    """Python blocks share one namespace, as in a reader's session: each run repeats those before it."""
    said = []
    for block in blocks(document):
        if block.language == "python":
            said.append(block.text)
            folder = tmp_path / "runs"
            shutil.rmtree(folder, ignore_errors=True)
            run([sys.executable, "-W", "error", "-c", "".join(said)], tmp_path)
        elif block.language == "console":
            check_console(document, block, tmp_path)
        elif block.language == "protobuf":
            save_file(block.text, tmp_path)
    assert said


def test_a_typed_event_takes_four_lines_at_most():
    first = next(block for block in blocks("README.md") if block.language == "python")
    assert len(first.text.replace("\n\n", "\n").splitlines()) <= 4


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_verb_that_is_named_exists(document):
    verbs = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`|    )make (\w+)", (ROOT / document).read_text(), re.MULTILINE))
    assert named <= verbs


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_and_link_that_is_named_exists(document):
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    paths = re.findall(r"`((?:esper|esper_telemetry|tests|tools|proto)/[\w/.]*)`", text)
    beside = (ROOT / document).parent
    missing = [name for name in links if not (beside / name).exists()]
    missing += [name for name in paths if not (ROOT / name).exists()]
    assert not missing, f"{document} names {missing}"


def test_every_public_name_the_readme_uses_exists():
    import esper_telemetry

    used = {name for page in RUN for name in re.findall(r"\bet\.(\w+)", (ROOT / page).read_text())}
    assert used <= set(esper_telemetry.__all__)
