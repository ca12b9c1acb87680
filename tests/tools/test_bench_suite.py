"""The table of `make bench`, made by the one bench that takes no times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "tools" / "bench" / "suite.py"


def suite(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SUITE), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_figures_become_a_table_in_a_document_and_a_file(tmp_path):
    document, figures = tmp_path / "page.md", tmp_path / "figures.json"
    document.write_text("# A page\n<!-- figures: written by make bench -->\nold\n<!-- end of figures -->\nthe end\n")
    done = suite("--only", "headers", "--json", figures, "--document", document)
    assert done.returncode == 0, done.stderr
    kept = json.loads(figures.read_text())
    assert [one["of"] for one in kept["figures"]] == [
        f"a run of {types} types, {state}" for types in (3, 17) for state in ("as written", "compacted")
    ]
    page = document.read_text()
    assert page.startswith("# A page\n")
    assert page.endswith("the end\n")
    assert "old" not in page
    for one in kept["figures"]:
        verdict = "met" if one["median"] <= one["goal"] else "**missed**"
        assert f"| {one['of']} | {one['median']:,.0f} B | at most {one['goal']:,g} B | {verdict} |" in page
    assert f"torch {kept['packages']['torch']}" in page


def test_a_document_without_a_place_for_the_table_is_named(tmp_path):
    document = tmp_path / "page.md"
    document.write_text("nothing here\n")
    done = suite("--only", "headers", "--document", document)
    assert done.returncode == 1
    assert f"{document}: no place for the table" in done.stderr
    assert "==" not in done.stdout, "nothing was measured in vain"
