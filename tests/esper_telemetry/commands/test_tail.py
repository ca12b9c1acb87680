"""`tail`: the end of a record, and -f on a run that another process is writing."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

from tests.esper_telemetry.collector.conftest import CollectorProcess
from tests.esper_telemetry.collector.publisher import Produced, Publication, open_stub

WRITER = """
    import sys, time
    import esper_telemetry as et
    options = et.RecordOptions(segment_bytes=8_000, frame_bytes=2_000, flush_interval=0.05)
    with et.start_run(sys.argv[1], name="live", run_id="live", record=options) as run:
        for number in range(1_500):
            run.emit(et.events.ScalarLogged, name=f"n{number * 7919 % 1000}", value=number ** 0.5, step=number)
            if number % 50 == 0:
                run.flush()
            if number == 20:
                print("started", flush=True)
                sys.stdin.readline()
"""


def test_the_last_events_are_shown_ten_by_default(cli, write_record, scalars):
    path = write_record(scalars(30), scalars(30))
    assert [json.loads(line)["seq"] for line in cli("tail", "--json", path).lines] == list(range(51, 61))
    assert [json.loads(line)["seq"] for line in cli("tail", "--json", "-n", 40, path).lines] == list(range(21, 61))
    assert cli("tail", "-n", 2, path).lines == cli("cat", path).lines[-2:]


def test_the_choice_of_events_holds_here_too(cli, record_run):
    folder = record_run()
    assert [json.loads(line)["seq"] for line in cli("tail", "--json", "-n", 1, "--env", 0, folder).lines] == [3]


def test_following_a_live_run_shows_every_event_once_and_ends_with_it(tmp_path):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout.readline() == b"started\n"
    command = [sys.executable, "-m", "esper_telemetry", "tail", "-f", "-n", "5", "--json", "--type", "scalar.*"]
    follower = subprocess.Popen(
        [*command, str(tmp_path / "live")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # communicate() would lose what readline() has buffered
    )
    first = follower.stdout.readline()
    writer.stdin.write(b"\n")
    writer.stdin.close()
    rest, errors = follower.communicate(timeout=120)
    assert writer.wait(timeout=60) == 0
    steps = [json.loads(line)["data"]["step"] for line in (first + rest).splitlines()]
    assert steps == list(range(steps[0], 1_500))
    assert steps[0] <= 20
    assert (follower.returncode, errors) == (0, b"")
    assert len(list((tmp_path / "live").iterdir())) > 1, "the run was to rotate"


def test_a_cut_end_is_told_and_exits_3(cli, write_record, scalars):
    path = write_record(scalars(5), scalars(5), close=False)
    path.write_bytes(path.read_bytes()[:-5])
    for options in ((), ("-f",)):
        finished = cli("tail", *options, path)
        assert finished.code == 3
        assert len(finished.lines) == 5
        assert "file ends inside frame 2" in finished.err


def test_a_run_at_a_collector_is_followed_to_its_end(tmp_path, cli):
    produced = Produced(run_id="far-away")
    collector = CollectorProcess(tmp_path / "store", tmp_path / "log")
    try:
        with open_stub(collector.port) as stub:
            stream = Publication(stub).send(produced.hello(), produced.schema, *produced.batches[:2])
            stream.acked(50)
            place = f"127.0.0.1:{collector.port}"
            assert [json.loads(line)["seq"] for line in cli("tail", "--json", "-n", 2, place).lines] == [49, 50]
            command = [sys.executable, "-m", "esper_telemetry", "tail", "-f", "--json", "-n", "1", f"{place}/far-away"]
            follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
            first = follower.stdout.readline()
            stream.send(*produced.batches[2:], produced.close()).end().messages()
            rest, errors = follower.communicate(timeout=120)
        assert [json.loads(line)["seq"] for line in (first + rest).splitlines()] == list(range(50, 101))
        assert (follower.returncode, errors) == (0, b"")
        missing = cli("tail", f"{place}/nowhere")
        assert (missing.code, "has no run 'nowhere'" in missing.err) == (1, True)
    finally:
        collector.terminate()


def test_a_collector_that_does_not_answer_is_a_failure_in_one_line(cli, tmp_path):
    finished = cli("tail", "127.0.0.1:1")
    assert finished.code == 1
    assert finished.err.startswith("error: 127.0.0.1:1: the collector answers unavailable")
    token = tmp_path / "token"
    token.write_text("secret")
    assert "in the clear" in cli("tail", "collector.example:7575", "--token-file", token).err
