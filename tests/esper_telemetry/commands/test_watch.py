"""`esper-telemetry watch`: rules over a run that goes on, told once each to a person, a webhook and a command."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading

import pytest

import esper_telemetry

RULES = """
[[rule]]
name = "loss too high"
kind = "threshold"
event = "scalar.logged"
fields = ["value"]
above = 10.0
clear = 5.0
text = "it diverges"
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


@pytest.fixture
def hook():
    """A server that takes findings, and what it took; its first answer is a failure."""
    taken = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            taken.append(body)
            self.send_response(500 if len(taken) == 1 else 204)
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", taken
    server.shutdown()
    server.server_close()


def losses(*values):
    def fill(run) -> None:
        for step, value in enumerate(values):
            run.emit(esper_telemetry.events.ScalarLogged, name="loss", value=value, step=step)

    return fill


def test_a_run_that_breaks_no_rule_ends_with_0(cli, record_run, rules):
    done = cli("watch", record_run(losses(1.0, 2.0)), "--rules", rules)
    assert (done.code, done.out) == (0, "")


def test_what_fires_is_printed_with_value_and_limit_and_the_code_is_4(cli, record_run, rules):
    done = cli("watch", record_run(losses(1.0, 12.5)), "--rules", rules, "--json")
    (found,) = map(json.loads, done.lines)
    assert (found["rule"], found["state"], found["value"], found["text"]) == (
        "loss too high",
        "firing",
        "12.50",
        "it diverges",
    )
    assert done.code == 4


def test_a_webhook_that_fails_once_gets_the_finding_again(cli, record_run, rules, hook):
    address, taken = hook
    done = cli("watch", record_run(losses(99.0)), "--rules", rules, "--webhook", address)
    assert done.code == 4
    assert len(taken) == 2
    assert taken[0] == taken[1]


def test_a_webhook_that_is_not_there_is_told(cli, record_run, rules):
    done = cli("watch", record_run(losses(99.0)), "--rules", rules, "--webhook", "http://127.0.0.1:9/")
    assert "the webhook did not take a finding" in done.err


def test_a_command_gets_the_finding_without_a_shell(cli, record_run, rules, tmp_path):
    note = tmp_path / "note.py"
    note.write_text(
        "import os, sys, pathlib; pathlib.Path(sys.argv[1]).write_text(os.environ['ESPER_RULE'] + sys.stdin.read())"
    )
    out = tmp_path / "out; touch pwned"
    done = cli("watch", record_run(losses(99.0)), "--rules", rules, "--exec", f"{sys.executable} {note} '{out}'")
    assert done.code == 4, done.err
    assert out.read_text().startswith("loss too high{")


def test_firing_and_clearing_are_told_while_the_run_goes_on(tmp_path, rules):
    with esper_telemetry.start_run(tmp_path / "runs", name="live") as run:
        run.flush()
        command = [sys.executable, "-m", "esper_telemetry", "watch", str(run.folder), "--rules", str(rules), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "watching live" in process.stderr.readline()
        run.emit(esper_telemetry.events.ScalarLogged, name="loss", value=50.0, step=1)
        run.flush()
        assert json.loads(process.stdout.readline())["state"] == "firing"
        run.emit(esper_telemetry.events.ScalarLogged, name="loss", value=1.0, step=2)
        run.flush()
        assert json.loads(process.stdout.readline())["state"] == "cleared"
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4, errors


def test_an_address_that_is_no_webhook_is_refused(cli, record_run):
    done = cli("watch", record_run(), "--webhook", "file:///etc/passwd")
    assert (done.code, "no address of HTTP" in done.err) == (1, True)
