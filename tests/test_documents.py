"""The documents lead somewhere: every link to a file of the checkout, and to a test in it, exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


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
