"""Mistakes are said once, in bounded number, and not by a handler to itself."""

import logging

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.mistakes import Mistakes


def test_the_same_mistake_is_said_once_whatever_the_value(caplog):
    mistakes = Mistakes()
    for value in range(3):
        mistakes.say("a", SchemaError(f"it was given {value}", about="value"))
        mistakes.say("b", SchemaError(f"it was given {value}", about="value"))
    assert [record.args[0] for record in caplog.records] == ["a", "b"]


def test_new_mistakes_all_the_time_have_an_end(caplog):
    mistakes = Mistakes()
    for number in range(1000):
        mistakes.say("a", SchemaError(f"mistake {number}"))
    assert len(mistakes) == len(caplog.records) < 300


def test_a_log_handler_that_makes_mistakes_is_not_called_by_itself():
    mistakes, heard = Mistakes(), []

    class Handler(logging.Handler):
        def emit(self, record):
            heard.append(record.getMessage())
            mistakes.say("a", SchemaError(f"from the handler, {len(heard)}"))

    handler = Handler()
    logging.getLogger("esper_telemetry").addHandler(handler)
    try:
        mistakes.say("a", SchemaError("first"))
    finally:
        logging.getLogger("esper_telemetry").removeHandler(handler)
    assert len(heard) == 1
