"""Escaping: whatever a text holds, it is text on the page."""

from __future__ import annotations

import json

import pytest

from esper_telemetry.report.escaping import Markup, element, json_text, shown, visible

HOSTILE = [
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "\x1b[31mred\x1b[0m\x07",
    "\u202egnp.exe\u2066",
    "a\x00b\ud800c",
    "</script><script>alert(1)//",
    "&lt;b&gt;",
    "\u2028\u2029\ufeff\u200f",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_text_in_elements_attributes_and_json(text, parse):
    markup = element("p", {"title": text, "class": "x"}, text)
    paragraph = parse(markup).one("p")
    assert not paragraph.children
    assert paragraph.text == paragraph.attributes["title"] == visible(text)
    assert set(paragraph.attributes) == {"title", "class"}
    script = element("script", {"type": "application/json"}, json_text({"text": text}))
    assert json.loads(parse(script).one("script").text) == {"text": text}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_character_that_does_not_show_itself_is_left(text):
    for character in visible(text):
        assert character.isprintable()


def test_what_is_readable_stays_as_it_is():
    text = "späte Schicht: ≤ 3 %, 日本語, 🌱\nnew line"
    assert visible(text) == text


def test_attributes_are_left_out_escaped_or_stand_alone():
    assert element("input", {"disabled": True, "hidden": False, "id": None, "max": 1.5}) == '<input disabled max="1.5">'
    assert element("b", {}, Markup("<i></i>"), "<i>") == "<b><i></i>&lt;i&gt;</b>"
    assert shown(Markup("<p>")) == "<p>"
