"""Build the documentation site: `python tools/docs/build_site.py site`, or `make docs`. A warning is an error.

Pages are written for a reader of the checkout, and link to what lies beside them: a test, a script, the format's
specification. This puts a copy of docs/ together in which those links stay inside the site, and hands it to Sphinx:
documents that are kept elsewhere become pages (`DOCUMENTS`), and any other file that is linked becomes a page with its
source, with an anchor at each name that a link asks for. The navigation is the lists of docs/index.md, then
docs/measurements/. Nothing is fetched from a network.
"""

from __future__ import annotations

import argparse
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
# Documents outside docs/, and the page that each becomes.
DOCUMENTS = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
    "esper_telemetry/collector/OPERATIONS.md": "operations.md",
    "esper_telemetry/recordfile/FORMAT.md": "record-format.md",
    "tests/golden/README.md": "golden-files.md",
}
_FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2[`~]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")
_LANGUAGES = {
    ".json": "json", ".md": "markdown", ".mjs": "javascript", ".proto": "protobuf", ".py": "python", ".sh": "bash",
    ".toml": "toml", ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip
_LARGEST_SOURCE = 300_000


class DeadLinkError(Exception):
    """A page links to a file, or to a name in it, that does not exist."""


def main() -> int:
    """Build the site into the folder that is given; return Sphinx's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="folder of the site; it is replaced")
    target: Path = parser.parse_args().target
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder) / "pages"
        gather(pages)
        shutil.rmtree(target, ignore_errors=True)
        configuration = str(ROOT / "tools" / "docs")
        caches = str(Path(folder) / "doctrees")
        sphinx = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "-j", "1"]
        return subprocess.run([*sphinx, "-d", caches, "-c", configuration, pages, target], check=False).returncode


def gather(pages: Path) -> None:
    """Write what Sphinx reads into a new folder.

    Raises:
        DeadLinkError: a link leads to a file, or to a name in a source file, that does not exist.
    """
    shutil.copytree(ROOT / "docs", pages)
    for path, page in DOCUMENTS.items():
        shutil.copy(ROOT / path, pages / page)
    wanted: dict[str, set[str]] = {}
    for file in sorted(pages.rglob("*.md")):
        page = file.relative_to(pages).as_posix()
        text = _with_links(page, file.read_text(encoding="utf-8"), wanted)
        if page == "index.md":
            text += "".join(_tables_of_contents(text))
        file.write_text(text, encoding="utf-8")
    for target, names in sorted(wanted.items()):
        file = pages / f"source/{target}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_source_page(target, names), encoding="utf-8")


def _with_links(page: str, text: str, wanted: dict[str, set[str]]) -> str:
    """Return a page's text with its links moved; note the source files that they lead to, with names in them."""

    def moved(found: re.Match[str]) -> str:
        mark, label, link = found.groups()
        path, _, anchor = link.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return found[0]
        target = _resolved(page, path)
        if not (ROOT / target).exists():
            raise DeadLinkError(f"docs/{page} links to {link}, which does not exist")
        here = posixpath.dirname(page) or "."
        if target in DOCUMENTS or target.startswith("docs/"):
            home = DOCUMENTS.get(target) or target.removeprefix("docs/")
            return f"{mark}[{label}]({posixpath.relpath(home, here)}{'#' * bool(anchor)}{anchor})"
        wanted.setdefault(target, set()).update({anchor} - {""})
        # As HTML: Sphinx does not know the anchors of these pages, and this file has checked them.
        home = posixpath.relpath(f"source/{target}.html", here)
        return f'<a href="{home}{"#" * bool(anchor)}{anchor}">{label}</a>'

    parts = []
    end = 0
    for fence in _FENCE.finditer(text):
        parts += [_LINK.sub(moved, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(moved, text[end:])])


def _resolved(page: str, path: str) -> str:
    """Return the path in the checkout that a page's link leads to."""
    homes = {page: document for document, page in DOCUMENTS.items()}
    home = homes.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(home), path))


def _tables_of_contents(index: str) -> Iterator[str]:
    """Yield a hidden table of contents for each section of the front page that lists pages."""
    for section in index.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        entries = re.findall(r"^- \[([^\]]+)\]\(([\w/-]+)\.md\)", body, re.MULTILINE)
        if entries:
            lines = "\n".join(f"{label} <{page}>" for label, page in entries)
            yield f"\n\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{lines}\n```\n"
    if (ROOT / "docs" / "measurements").is_dir():
        yield "\n\n```{toctree}\n:hidden:\n:caption: Measurements\n:glob:\n\nmeasurements/*\n```\n"


def _source_page(target: str, names: set[str]) -> str:
    """Return a page with a file's source, or a folder's files, that no search finds and no navigation lists."""
    path = ROOT / target
    head = f"---\norphan: true\nnosearch: true\n---\n# {path.name}\n\n`{target}`\n\n"
    if path.is_dir():
        found = sorted(f"{one.name}/" if one.is_dir() else one.name for one in path.iterdir() if one.name[0] != "_")
        return head + "\n".join(f"- `{name}`" for name in found) + "\n"
    data = path.read_bytes()
    if len(data) > _LARGEST_SOURCE or b"\0" in data:
        return head + f"A file of {len(data):,} bytes: see the checkout.\n"
    lines = data.decode("utf-8").splitlines()
    starts = {0: ""} | {_line_of(target, lines, name): name for name in names}
    bounds = [*sorted(starts), len(lines)]
    parts = [head]
    for begin, end in pairwise(bounds):
        block = "\n".join(lines[begin:end])
        fence = "`" * (max(map(len, re.findall(r"`{3,}", block)), default=2) + 1)
        anchor = f'<a id="{starts[begin]}"></a>\n\n' * bool(starts[begin])
        language = _LANGUAGES.get(path.suffix, "text")
        parts.append(f"{anchor}{fence}{{code-block}} {language}\n:lineno-start: {begin + 1}\n\n{block}\n{fence}\n\n")
    return "".join(parts)


def _line_of(target: str, lines: list[str], name: str) -> int:
    """Return the index of the line that defines a name, or that is the heading or the anchor of it."""
    for number, line in enumerate(lines):
        if re.match(rf"\s*(?:async )?(?:def|class) {re.escape(name)}\b", line):
            return number
    raise DeadLinkError(f"a page links to {name} in {target}, which does not define it")


if __name__ == "__main__":
    sys.exit(main())
