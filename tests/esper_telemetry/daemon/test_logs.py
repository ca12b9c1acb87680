"""A log line is one line, whatever is in it, and a program finds its values by name."""

from __future__ import annotations

import io
import json
import logging
import warnings

import pytest

from esper_telemetry.daemon.logs import start_logging

LOG = logging.getLogger("esper_telemetry.test")


@pytest.fixture
def started():
    """A function that starts logging into a text; what pytest had set up is put back."""
    root, ours = logging.getLogger(), logging.getLogger("esper_telemetry")
    before, level, own = root.handlers[:], root.level, ours.level

    def start(form: str, level: str = "info") -> io.StringIO:
        stream = io.StringIO()
        start_logging(form, level, stream)
        return stream

    yield start
    logging.captureWarnings(capture=False)
    root.handlers[:] = before
    root.setLevel(level)
    ours.setLevel(own)


def test_json_has_message_level_time_and_what_was_given_beside_it(started):
    stream = started("json")
    LOG.warning("run %s: deleted", "a", extra={"run_id": "a", "bytes": 7})
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("time").endswith("Z")
    assert said == {
        "level": "warning",
        "logger": "esper_telemetry.test",
        "message": "run a: deleted",
        "run_id": "a",
        "bytes": 7,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_with_its_traceback_and_a_text_of_a_stranger_are_one_line_each(started, form):
    stream = started(form)
    try:
        1 / 0  # noqa: B018 - raises
    except ZeroDivisionError:
        LOG.exception("a turn failed")
    LOG.info("run %s", "a\nERROR forged\x1b[31m")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "ZeroDivisionError" in lines[0]
    assert lines[1].isprintable()
    if form == "json":
        assert "ZeroDivisionError" in json.loads(lines[0])["trace"]


def test_a_level_leaves_out_what_is_below_it_and_libraries_stay_quiet(started):
    stream = started("text", "debug")
    LOG.debug("ours")
    logging.getLogger("asyncio").debug("theirs")
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == ["DEBUG ours"]
    stream = started("text", "error")
    LOG.warning("no")
    assert stream.getvalue() == ""


def test_what_python_warns_of_is_a_line_too(started):
    stream = started("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "old" in json.loads(stream.getvalue())["message"]


def test_values_that_json_does_not_know_are_written_as_text(started):
    stream = started("json")
    LOG.info("x", extra={"path": object, "nan": float("nan")})
    assert "class" in json.loads(stream.getvalue())["path"]
