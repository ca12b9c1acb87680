"""Numbers and tables as people read them."""

from __future__ import annotations

import json

import pytest

from esper_telemetry.commands import output


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1,023 B"), (40_815, "39.9 KiB"), (1 << 30, "1.0 GiB"), (5 << 50, "5,120.0 TiB")],
)
def test_sizes_are_in_binary_units(count, text):
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0133, "0.0133 s"),
        (59.5, "59.5 s"),
        (60, "1 min 00 s"),
        (3725.5, "1 h 02 min 06 s"),
        (90_000, "25 h 00 min 00 s"),
    ],
)
def test_durations_are_in_the_units_of_their_size(seconds, text):
    assert output.duration(seconds) == text


def test_one_is_singular():
    assert [output.plural(count, "event") for count in (0, 1, 2_000)] == ["0 events", "1 event", "2,000 events"]


def test_a_table_has_numbers_to_the_right_and_a_dash_for_what_is_absent(capsys):
    output.print_table(("count", "type"), [(3000, "a"), (None, "bb"), (0.25, "c")])
    assert capsys.readouterr().out == "count  type\n3,000  a\n    —  bb\n 0.25  c\n"


def test_json_in_a_pipe_is_one_line_of_valid_json(capsys):
    output.print_json({"a": [float("nan")], "é": b"\x00"})
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert json.loads(text) == {"a": ["NaN"], "é": "AA=="}


def test_words_go_to_stderr_in_one_form(capsys):
    output.warn("w")
    output.note("n")
    output.fail("f")
    assert capsys.readouterr() == ("", "warning: w\nn\nerror: f\n")


def test_no_colour_where_nobody_sees_it(capsys):
    assert not output.colored()
