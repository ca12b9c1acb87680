"""The documents lead somewhere, show what is so, and build: links, blocks and outputs, generated pages, the site."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tools.docs.build_site import DeadLinkError, gather
from tools.docs.conf import as_restructured_text
from tools.docs.page_blocks import comparable

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
DOCS = ROOT / "docs"
# Pages whose blocks are run by a test of their own.
ELSEWHERE = {
    "adapters.md",  # tests/integrations/test_adapters_docs.py: needs the frameworks
    "analysts.md",  # tests/integration/test_questions.py
    "datasets.md",  # tests/integrations/test_ecosystems.py: needs the engines
    "log.md",  # tests/integration/test_log_page.py
    "operators.md",  # tests/integration/test_operators_page.py
    "tour.md",  # tests/test_readme.py
}
# Pages that need a framework: tests/integrations/test_guides.py runs them.
FRAMEWORKS = {"stable-baselines3.md", "lightning.md", "hugging-face.md", "torchrl.md"}
# What in a block needs which extra, and the extras that bring another one.
NEEDS = {
    "cli": r"^(?:\$ )?esper-telemetry \w",
    "collector": r"^(?:\$ )?esper-telemetry collect\b",
    "mcp": r"^(?:\$ )?esper-telemetry mcp\b",
    "nats": r"^(?:\$ )?esper-telemetry consume\b",
    "query": r"\bet\.(?:query|tables?|scan)\(|^(?:\$ )?esper-telemetry (?:query|export)\b",
    "torch": r"^import torch\b|\btorchrun\b",
    "ui": r"^(?:\$ )?esper-telemetry (?:ui|top)\b",
}
BRING = {"ui": "cli", "mcp": "cli", "sb3": "torch", "torchrl": "torch", "lightning": "torch", "hf": "torch"}
RUN = re.compile(r"^```(?:python|console)$", re.MULTILINE)


def pages_to_run() -> list[Path]:
    """Return the pages with blocks to run, here, in one process."""
    found = (page for page in sorted(DOCS.rglob("*.md")) if RUN.search(page.read_text(encoding="utf-8")))
    return [page for page in found if page.name not in ELSEWHERE | FRAMEWORKS]


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_to_what_it_names_there(page):
    for link in links(page):
        path, _, name = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        if name.startswith("test_"):
            assert re.search(rf"def {name}\b", target.read_text()), f"{page.name}: {target.name} has no {name}"
        elif name:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert name in anchors, f"{page.name}: {target.name} has no heading {name}"


def test_each_guarantee_names_a_proof():
    promises = (ROOT / "docs/guarantees.md").read_text().split("## What is not promised")[0].split("\n\n**")[1:]
    assert len(promises) > 12
    for promise in promises:
        assert "Proof:" in promise, promise.splitlines()[0]
        assert "test_" in promise, promise.splitlines()[0]


def test_the_tree_of_the_architecture_is_that_of_the_package():
    tree = (DOCS / "architecture.md").read_text(encoding="utf-8").split("```text\n")[2].split("```")[0]
    drawn = set(re.findall(r"^  ([\w.]+)/? ", tree, re.MULTILINE))
    package = [path for path in (ROOT / "esper_telemetry").iterdir() if path.is_dir() or path.suffix == ".py"]
    assert drawn == {path.name for path in package if not path.name.startswith("__")}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name)
def test_a_page_names_the_extras_that_its_blocks_need(page):
    """A reader who installs what a page names can run all of it."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```(?:python|console|sh)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    lists = re.findall(r"(?:esper-telemetry|'\.)\[([\w,]+)\]", text)
    named = {extra for found in lists for extra in found.split(",")}
    named |= {BRING[extra] for extra in named & set(BRING)}
    needed = {extra for extra, sign in NEEDS.items() if re.search(sign, blocks, re.MULTILINE)}
    assert needed <= named, f"{page.name} needs esper-telemetry[{','.join(sorted(needed))}] and does not say so"


@pytest.mark.slow
def test_the_blocks_of_the_pages_run_and_print_what_the_pages_show():
    """In a process of its own: what a block logs goes where it goes for a reader, not to pytest."""
    command = [sys.executable, ROOT / "tools/docs/page_blocks.py", *pages_to_run()]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    renew = "renew what a page shows: python tools/docs/page_blocks.py --write docs/PAGE.md"
    assert finished.returncode == 0, f"{finished.stdout}{finished.stderr}\n{renew}"


def test_what_varies_from_run_to_run_is_compared_as_one_word():
    shown = "started 2026-11-29 12:39:10.878676, lasted 0.0636 s, 6.2 KiB, sha256 16dc6f22e113, 2 frames, value 0.5"
    later = "started 2027-01-02 03:04:05.000001, lasted 1.2 s, 7 B, sha256 aaaaaaaaaaaa, 1 frame, value 0.5"
    assert comparable(shown) == comparable(later)
    assert comparable(shown) != comparable(later.replace("value 0.5", "value 0.6"))


def test_a_page_that_shows_something_else_than_is_printed_is_found_and_renewed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n\n```console\n$ echo so\n```\n")
    command = [sys.executable, ROOT / "tools/docs/page_blocks.py"]
    found = subprocess.run([*command, page], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "print(1 + 1)" in found.stdout
    assert subprocess.run([*command, "--write", page], capture_output=True, check=False).returncode == 0
    assert page.read_text() == "```python\nprint(1 + 1)\n```\n\n```text\n2\n```\n\n```console\n$ echo so\nso\n```\n"
    assert subprocess.run([*command, page], capture_output=True, check=False).returncode == 0


def test_a_block_that_fails_fails_its_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```console\n$ exit 3\n```\n")
    command = [sys.executable, ROOT / "tools/docs/page_blocks.py", page]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "exit code 3" in finished.stderr


def test_the_generated_reference_is_that_of_the_schema():
    command = [sys.executable, ROOT / "tools/docs/reference_pages.py", "--check"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout


def test_the_reader_that_is_written_on_a_page_reads_the_golden_file(tmp_path):
    """Every event, in its order, of a file with every construct of the format."""
    text = (DOCS / "write-a-reader.md").read_text(encoding="utf-8")
    for block, name in re.findall(r"^```\w+\n((?:#|//) (\S+\.\w+)\n.*?)^```$", text, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(block)
    subprocess.run(["protoc", "-I.", "--python_out=.", "envelope.proto"], cwd=tmp_path, check=True)
    program = """
        import json, sys
        from pathlib import Path
        from reader import events
        for seq, name, time, payload, context in events(Path(sys.argv[1]).read_bytes()):
            fields = {field.name: value for one in (payload, context) for field, value in one.ListFields()}
            print(json.dumps([seq, fields.get("name"), fields.get("step"), fields.get("value"), time]))
    """
    golden = ROOT / "tests" / "golden" / "v1.esr.zst"
    code = re.sub(r"^ {8}", "", program, flags=re.MULTILINE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code, golden]
    read = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    expected = [json.loads(line) for line in golden.with_name("v1.jsonl").read_text().splitlines()]
    found = [json.loads(line) for line in read.splitlines()]
    assert [row[0] for row in found] == [event["seq"] for event in expected]
    for (_, name, step, value, _), event in zip(found, expected, strict=True):
        if event["type"] == "scalar.logged":
            data = event["data"]
            assert (name, step) == (data.get("name"), data.get("step"))
            assert str(value) == str(data.get("value")).replace("Infinity", "inf").replace("NaN", "nan")


def test_a_link_to_a_name_that_a_file_does_not_define_stops_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.docs.build_site.ROOT", tmp_path)
    monkeypatch.setattr("tools.docs.build_site.DOCUMENTS", {})
    (tmp_path / "docs").mkdir()
    (tmp_path / "test_it.py").write_text("def test_there(): ...\n")
    index = tmp_path / "docs" / "index.md"
    index.write_text("# Title\n\n[proof](../test_it.py#test_there)\n")
    gather(tmp_path / "pages")
    assert '<a href="source/test_it.py.html#test_there">proof</a>' in (tmp_path / "pages" / "index.md").read_text()
    assert '<a id="test_there"></a>' in (tmp_path / "pages" / "source" / "test_it.py.md").read_text()
    index.write_text("# Title\n\n[proof](../test_it.py#test_gone)\n")
    with pytest.raises(DeadLinkError, match="test_gone"):
        gather(tmp_path / "other")


def test_a_docstring_s_code_and_stars_are_shown_as_they_are_written():
    lines = ["`run.emit` takes **fields, a|b and update_ of `new_state`"]
    as_restructured_text(None, "function", "name", None, None, lines)
    assert lines == [r"``run.emit`` takes \*\*fields, a\|b and update\_ of ``new_state``"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sphinx") is None, reason="sphinx is not installed: pip install -e '.[docs]'")
def test_the_site_builds_without_a_warning_and_asks_no_other_host(tmp_path):
    command = [sys.executable, ROOT / "tools/docs/build_site.py", tmp_path / "site"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    loaded = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)|<link\b[^>]*\bhref=\"([^\"]+)|url\(([^)]+)\)"
    )
    for file in [*(tmp_path / "site").rglob("*.html"), *(tmp_path / "site").rglob("*.css")]:
        for found in loaded.finditer(file.read_text(encoding="utf-8")):
            address = "".join(filter(None, found.groups())).strip("'\"")
            assert not re.match(r"(https?:)?//", address), f"{file.name} loads {address}"
