"""Text of the user's as protobuf takes it."""

from __future__ import annotations

import os

import pytest

from esper_telemetry.facts.text import qualified_name, text_of, type_name, utf8_text
from esper_telemetry.v1 import run_pb2


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("späte Schicht 🌱", "späte Schicht 🌱"),
        (os.fsdecode(b"caf\xe9.npz"), r"caf\xe9.npz"),
        ("half \ud83c", r"half \ud83c"),
        ("\udce9 and \ud83c", r"\udce9 and \ud83c"),
        ("nul \0", "nul \0"),
    ],
)
def test_whatever_a_text_holds_protobuf_takes_it(given, shown):
    assert utf8_text(given) == shown
    assert run_pb2.RunStarted.FromString(run_pb2.RunStarted(name=utf8_text(given)).SerializeToString()).name == shown


@pytest.mark.parametrize("limit", [3, 10, 100])
def test_a_long_text_is_cut_at_a_letter_and_marked(limit):
    cut = utf8_text("äöü🌱" * 100, limit)
    assert cut.endswith("…")
    assert len(cut.encode()) <= limit
    assert utf8_text("ä" * (limit // 2), limit) == "ä" * (limit // 2)


def test_a_subclass_cannot_answer_in_place_of_its_text():
    class Loud(str):
        __slots__ = ()

        def __str__(self):
            raise RuntimeError

        encode = __str__

    assert utf8_text(Loud("quiet")) == "quiet"


def test_a_text_that_cannot_be_had_is_replaced_by_what_it_raised():
    class NoText:
        def __str__(self):
            raise LookupError("none")

    assert text_of(NoText(), 100) == "<its text could not be had: LookupError>"


def test_a_class_is_named_whatever_its_metaclass_says():
    class Meta(type):
        @property
        def __name__(cls):
            raise RuntimeError

    class Odd(metaclass=Meta):
        pass

    assert type_name(Odd) == "Odd"
    assert qualified_name(Odd).endswith("test_a_class_is_named_whatever_its_metaclass_says.<locals>.Odd")
    assert qualified_name(dict) == "dict"
