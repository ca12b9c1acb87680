"""Texts become events; a long one loses its end and says so."""

from __future__ import annotations

import pytest
import torch

import esper_telemetry as et
from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.texts import MAX_TEXT_BYTES
from esper_telemetry.testing import memory_run, recorded


def texts(*arguments, **keywords):
    run, sink = memory_run(strict=False)
    run.log_text(*arguments, **keywords)
    run.close()
    return [event.data for event in recorded(sink) if event.name == "text.logged"], run.stats().dropped


def test_a_text_is_in_the_record_with_its_name_kind_and_step(record_run):
    folder = record_run(lambda run: run.log_text("eval/sample", "# Größe 🌱\n", mime="text/markdown", step=3))
    (event,) = (event for event in et.read(folder) if event.type == "text.logged")
    assert event.data == {"name": "eval/sample", "text": "# Größe 🌱\n", "mime": "text/markdown", "step": 3}


@pytest.mark.parametrize("character", ["x", "ü", "🌱"])
def test_a_long_text_is_cut_between_characters_and_says_how_much_is_gone(character):
    whole = "." + character * MAX_TEXT_BYTES
    (data,), lost = texts("t", whole)
    assert whole.startswith(data["text"])
    assert MAX_TEXT_BYTES - 4 < len(data["text"].encode()) <= MAX_TEXT_BYTES
    assert data["omitted_bytes"] == len(whole.encode()) - len(data["text"].encode())
    assert not lost


def test_a_text_of_exactly_the_limit_is_whole():
    (data,), _ = texts("t", "x" * MAX_TEXT_BYTES)
    assert data == {"name": "t", "text": "x" * MAX_TEXT_BYTES}


def test_a_text_that_utf8_cannot_hold_is_escaped():
    (data,), lost = texts("t", "file \udcff")
    assert data["text"] == "file \\udcff"
    assert not lost


@pytest.mark.parametrize("text", [torch.ones(2), None, 5, b"bytes", object()], ids=lambda value: type(value).__name__)
def test_what_is_no_text_is_counted(text):
    assert texts("t", text) == ([], 1)
    assert texts(torch.ones(1), "text") == ([], 1)


def test_strict_raises():
    run, _ = memory_run()
    with pytest.raises(SchemaError, match="pass a str"):
        run.log_text("t", 5)
    run.close()
