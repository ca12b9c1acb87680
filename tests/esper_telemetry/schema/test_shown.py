"""Values in errors: short, true, and never asked for anything."""

from __future__ import annotations

import pytest

from esper_telemetry.schema.shown import cut, reason, shown


class Secretive:
    def __repr__(self):
        raise AssertionError("it was asked for its repr")

    __str__ = __repr__


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("loss", "'loss'"),
        (None, "None"),
        (0.5, "0.5"),
        (2**64, "18446744073709551616"),
        (10**5000, "an integer of 16,610 bits"),
        ("x" * 100, f"'{'x' * 60}'... (100 long)"),
        (Secretive(), f"a {__name__}.Secretive"),
        ([1], "a list"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_as_a_person_needs_it(value, text):
    assert shown(value) == text


def test_a_text_is_cut_only_if_it_is_too_long():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc..."


def test_an_error_that_says_nothing_or_cannot_is_named_by_its_type():
    assert reason(ValueError("wrong")) == "wrong"
    assert reason(ValueError()) == "ValueError"
    assert reason(UnprintableError()) == f"{__name__}.UnprintableError"
    assert len(reason(ValueError("x" * 10_000_000))) < 500
