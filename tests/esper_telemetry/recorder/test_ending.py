"""How a run ended, judged from the exception that ended it."""

from __future__ import annotations

import asyncio
import bdb
import concurrent.futures
import signal

import pytest
import torch

from esper_telemetry.recorder.ending import MESSAGE_LIMIT, ending


class StopTuning(BaseException):
    pass


class Hidden(SystemExit):
    code = property(lambda self: 1 / 0)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "completed"),
        (ValueError("x"), "failed"),
        (StopTuning(), "failed"),
        (KeyboardInterrupt(), "interrupted"),
        (asyncio.CancelledError(), "interrupted"),
        (concurrent.futures.CancelledError(), "failed"),
        (bdb.BdbQuit(), "interrupted"),
        (type("MyQuit", (bdb.BdbQuit,), {})(), "interrupted"),
        (SystemExit(), "completed"),
        (SystemExit(0), "completed"),
        (SystemExit(3), "failed"),
        (SystemExit("no data"), "failed"),
        (SystemExit(128 + signal.SIGTERM), "interrupted"),
        (SystemExit(255), "failed"),
        (SystemExit(0.0), "failed"),  # Python ends with status 1
        (Hidden(3), "failed"),
        (GeneratorExit(), "completed"),
        (ExceptionGroup("g", [ValueError()]), "failed"),
        (BaseExceptionGroup("g", [ValueError(), KeyboardInterrupt()]), "interrupted"),
        (BaseExceptionGroup("g", [BaseExceptionGroup("h", [asyncio.CancelledError()])]), "interrupted"),
        (BaseExceptionGroup("g", [asyncio.CancelledError(), ValueError()]), "failed"),
        (BaseExceptionGroup("g", [SystemExit(0)]), "completed"),
    ],
    ids=repr,
)
def test_an_outcome_is_what_the_exception_says(error, outcome):
    assert ending(error=error).outcome == outcome


def test_a_framework_that_leaves_by_itself_after_a_signal_was_interrupted():
    sigterm = type("SIGTERMException", (SystemExit,), {"__module__": "lightning.pytorch.utilities.exceptions"})
    assert ending(error=sigterm()).outcome == "interrupted"
    left = SystemExit(1)
    left.__context__ = KeyboardInterrupt()
    assert ending(error=left).outcome == "interrupted"


def test_type_and_text_of_the_exception_are_kept():
    found = ending(error=SystemExit("no data"))
    assert (found.error_type, found.error_message) == ("SystemExit", "no data")
    assert ending(error=SystemExit(0)).error_type is None
    assert ending(error=GeneratorExit()).reason == "its generator was closed"


class NoTextError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class NoLengthError(Exception):
    def __str__(self):
        return "x" * 10_000_000


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("\udce9"), r"\xe9"),
        (ValueError("half \ud83c"), r"half \ud83c"),
        (NoTextError(), "<its text could not be had: RuntimeError>"),
        (NoLengthError(), "x" * (MESSAGE_LIMIT - 3) + "…"),
        (KeyError("gone"), "'gone'"),
        (ValueError(), ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_text_of_any_kind_is_kept_as_far_as_it_can_be(error, message):
    found = ending(error=error)
    assert found.error_message == message
    assert found.outcome == "failed"


def test_an_exception_that_carries_a_tensor_is_not_asked_for_its_text():
    class OnDevice(torch.Tensor):
        def __repr__(self):
            raise AssertionError("read")

    found = ending(error=ValueError("loss is", torch.zeros(3).as_subclass(OnDevice)))
    assert found.error_message == f"loss is, <{__name__}.{OnDevice.__qualname__}>"


def test_what_the_caller_says_wins_and_a_word_that_is_no_outcome_is_kept_as_a_reason():
    assert ending("interrupted", ValueError("x")).outcome == "interrupted"
    assert ending(None, ValueError("x")).outcome == "failed"
    assert ending("failed", "diverged").error_message == "diverged"
    assert ending("abandoned", reason="a better one was found").reason == "a better one was found"
    for odd in ("success", 3, ["failed"], NoTextError()):
        found = ending(odd)
        assert found.outcome is None
        assert found.reason.startswith("unknown outcome ")
