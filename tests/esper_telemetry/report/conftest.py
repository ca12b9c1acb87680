"""Reports as trees of elements: what a browser would make of them, without a browser."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest

VOID = {"meta", "input", "br", "line", "rect", "circle", "path", "use", "stop"}


class Node:
    """An element with its attributes, its children and its own text."""

    def __init__(self, name: str, attributes: dict[str, str | None]) -> None:
        self.name, self.attributes, self.children = name, attributes, []
        self.own: list[str] = []

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.own)

    def all(self, name: str, **attributes: str) -> list[Node]:
        """Return the elements of a name below this one; attributes by their names, `class_` as one of the classes."""
        found = []
        for child in self.children:
            if child.name == name and all(child.has(key, value) for key, value in attributes.items()):
                found.append(child)
            found += child.all(name, **attributes)
        return found

    def one(self, name: str, **attributes: str) -> Node:
        found = self.all(name, **attributes)
        assert len(found) == 1, f"{len(found)} elements {name} {attributes}"
        return found[0]

    def has(self, key: str, value: str) -> bool:
        held = self.attributes.get(key.rstrip("_").replace("_", "-")) or ""
        return value in held.split() if key == "class_" else held == value

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Tree(HTMLParser):
    """Builds the tree; a tag that is closed by another one fails."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        self.open[-1].own.append(node)
        if tag not in VOID or (tag in ("rect", "line", "path") and not self.get_starttag_text().endswith("/>")):
            self.open.append(node)

    def handle_startendtag(self, tag, attrs):
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        self.open[-1].own.append(node)

    def handle_endtag(self, tag):
        assert self.open[-1].name == tag, f"</{tag}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].own.append(data)


def parse(html: str) -> Node:
    tree = Tree()
    tree.feed(html)
    tree.close()
    assert tree.open == [tree.root], f"never closed: {[node.name for node in tree.open[1:]]}"
    return tree.root


@pytest.fixture(name="parse")
def parse_fixture():
    return parse
