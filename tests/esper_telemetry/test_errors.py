"""The tree of errors: one base, one drawing that is true, and messages that carry the place."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from esper_telemetry import errors
from esper_telemetry.errors import CorruptRecordError, MissingExtraError, RecordError, SinkError, TelemetryError

CLASSES = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls)}


def test_every_error_is_a_telemetry_error():
    assert all(issubclass(cls, TelemetryError) for cls in CLASSES.values())


def test_the_tree_drawn_in_the_docstring_is_the_tree():
    drawn = {}
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"([\s│├└─]*)(\w+Error)\b", line)
        if found:
            depth = (len(found[1]) - 4) // 4
            above[depth:] = [found[2]]
            drawn[found[2]] = above[depth - 1] if depth else "Exception"
    assert drawn == {name: cls.__base__.__name__ for name, cls in CLASSES.items()}


def test_the_module_imports_nothing():
    assert not [name for name, value in vars(errors).items() if inspect.ismodule(value)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "torn"),
        ({"path": "a.esr.zst"}, "a.esr.zst: torn"),
        ({"path": "a.esr.zst", "offset": 1_234_567}, "a.esr.zst at byte 1,234,567: torn"),
        ({"path": "a.esr.zst", "offset": 0}, "a.esr.zst at byte 0: torn"),
    ],
)
def test_an_error_of_a_record_says_where(given, said):
    error = CorruptRecordError("torn", **given)
    assert str(error) == said
    assert (error.path, error.offset) == (given.get("path", ""), given.get("offset"))


def test_errors_of_records_can_be_caught_together():
    for cls in (errors.NotARecordError, errors.CorruptRecordError, errors.UnsupportedRecordError):
        with pytest.raises(RecordError):
            raise cls("x")


def test_a_missing_extra_says_which_install_mends_it():
    assert str(MissingExtraError("rich", "cli")) == (
        "rich is not installed; get it with: pip install 'esper-telemetry[cli]'"
    )


@pytest.mark.parametrize(
    "error",
    [SinkError("full"), CorruptRecordError("torn", path="a", offset=3), MissingExtraError("rich", "cli")],
    ids=repr,
)
def test_an_error_crosses_a_process_border_whole(error):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
