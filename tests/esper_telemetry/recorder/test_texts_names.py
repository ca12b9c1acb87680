"""Names that trainers make up become text that a record can hold."""

from __future__ import annotations

import enum

import pytest
import torch

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.texts import plain_name, writable


class Split(enum.Enum):
    TRAIN = "train"


@pytest.mark.parametrize(
    ("given", "name"),
    [("loss", "loss"), ("größe", "größe"), (3, "3"), (0.5, "0.5"), (True, "True"), (Split.TRAIN, "train"), ("", "")],
)
def test_texts_numbers_and_enums_are_names(given, name):
    assert plain_name("a value", given) == name


@pytest.mark.parametrize("given", [None, torch.ones(1), object(), b"loss", ("a", "b")])
def test_nothing_else_is_a_name_and_its_text_is_never_asked_for(given):
    with pytest.raises(SchemaError, match="a value was named by a"):
        plain_name("a value", given)


def test_what_utf8_cannot_hold_is_escaped_and_nothing_else():
    assert writable("a\udcff.pt") == "a\\udcff.pt"
    assert writable("späte Schicht 🌱") == "späte Schicht 🌱"
