"""FILE and the choice of events, the same for every verb that reads."""

from __future__ import annotations

import json

import click
import pytest

from esper_telemetry import read
from esper_telemetry.commands.reading import Numbers


@pytest.mark.parametrize(("text", "bounds"), [("7", (7, 7)), ("7:20", (7, 20)), ("7:", (7, None)), (":20", (None, 20))])
def test_numbers_are_one_or_a_range_with_both_ends(text, bounds):
    assert Numbers().convert(text, None, None) == bounds


def test_other_numbers_are_refused():
    with pytest.raises(click.BadParameter, match="no range of numbers"):
        Numbers().convert("1-2", None, None)


def test_file_may_be_a_file_a_folder_a_pattern_or_standard_input(cli, record_run):
    folder = record_run()
    (file,) = folder.iterdir()
    expected = cli("cat", file).out
    assert expected.count("\n") == 10
    assert cli("cat", folder).out == expected
    assert cli("cat", f"{folder.parent}/*/*.zst").out == expected
    assert cli("cat", "-", stdin=file.read_bytes()).out == expected
    assert cli("cat", folder, file).out == expected, "a file named twice is read once"


def test_every_choice_reaches_the_reader(cli, record_run):
    folder = record_run()
    events = list(read(folder))

    def chosen(*options):
        return [json.loads(line)["seq"] for line in cli("cat", "--json", *options, folder).lines]

    assert chosen("--type", "seed.*", "--type", "run.started") == [1, 2, 3]
    assert chosen("--env", 1) == [4, 5]
    assert chosen("--env", 0, "--env", "1", "--type", "*.completed") == [4]
    assert chosen("--rank", 1) == []
    assert chosen("--seq", "3:4") == [3, 4]
    assert chosen("--since", events[8].time_unix_nano) == [9, 10]
    assert chosen("--until", events[1].time_unix_nano) == [1]
    assert chosen("--until", "2020-01-01") == []


def test_losses_are_told_on_stderr_and_exit_3(cli, write_record, scalars):
    path = write_record(scalars(5), scalars(5), shed=2)
    finished = cli("cat", path)
    assert finished.code == 3
    assert finished.err == f"warning: {path}: 4 sequence numbers have no event: 4 without a cause\n"
    assert len(finished.lines) == 10
