"""`runs`: what is at a collector or in its folder, and how a run goes away."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.esper_telemetry.collector.conftest import CollectorProcess
from tests.esper_telemetry.collector.publisher import Produced, Publication, open_stub, publish, stored

TOKENS = """
[tenant.owner]
[tenant.guest]
[[token]]
tenant = "owner"
token = "mine"
may = ["read", "write", "delete"]
[[token]]
tenant = "guest"
token = "theirs"
"""


@pytest.fixture
def collector(tmp_path):
    collector = CollectorProcess(tmp_path / "store", tmp_path / "log")
    yield collector
    if collector.process.poll() is None:
        assert collector.terminate() == 0


def fill(collector, metadata=()) -> list:
    produced = [Produced(run_id="a-run", run_name="learned"), Produced(run_id="a-run", rank=1), Produced(run_id="b")]
    with open_stub(collector.port) as stub:
        for each in produced:
            publish(stub, each, metadata=metadata)
    return produced


def test_runs_are_listed_in_the_same_way_at_a_collector_and_in_its_folder(collector, cli):
    fill(collector)
    place = f"127.0.0.1:{collector.port}"
    for where in (place, collector.folder):
        head, first, second = cli("runs", where).lines
        assert head.split() == ["run", "name", "producers", "connected", "events", "bytes", "started"]
        assert first.split()[:3] == ["a-run", "learned", "2"]
        assert "200" in first.split()
        assert "2025-10-09 08:53:20" in first
        assert second.split()[0] == "b"
    online, offline = (json.loads(cli("runs", "--json", where).out) for where in (place, collector.folder))
    assert [run["durable"] for run in online] == [200, 100]
    assert online[0]["connected"] == 0
    assert offline[0]["connected"] is None
    for run in (*online, *offline):
        del run["connected"]
        for each in run["producers"]:
            del each["connected"], each["labels"]
    assert online == offline
    assert [run["run_id"] for run in json.loads(cli("runs", "--prefix", "b", "--json", place).out)] == ["b"]


def test_a_name_that_a_stranger_chose_cannot_order_the_terminal_about(collector, cli):
    with open_stub(collector.port) as stub:
        publish(stub, Produced(run_name="\x1b[2J\nforged"))
    (_, row) = cli("runs", f"127.0.0.1:{collector.port}").lines
    assert "\\x1b[2J\\nforged" in row


def test_who_writes_now_is_shown_as_connected(collector, cli):
    produced = Produced()
    with open_stub(collector.port) as stub:
        stream = Publication(stub).send(produced.hello(labels={"job": "7"}), produced.schema, *produced.batches)
        stream.acked(100)
        (run,) = json.loads(cli("runs", "--json", f"127.0.0.1:{collector.port}").out)
        assert run["connected"] == 1
        assert run["producers"][0]["labels"] == {"job": "7"}
        stream.end().messages()


def test_a_run_is_deleted_online(collector, cli):
    kept, _, doomed = fill(collector)
    place = f"127.0.0.1:{collector.port}"
    done = cli("runs", "delete", "b", place, "--yes")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("deleted run b: ")
    assert not stored(collector.folder, doomed)
    assert stored(collector.folder, kept) == kept.raw
    again = cli("runs", "delete", "b", place, "--yes")
    assert again.code == 1
    assert "there is no run 'b'" in again.err


def test_a_folder_is_deleted_from_only_while_no_collector_runs_on_it(collector, cli):
    kept, _, doomed = fill(collector)
    refused = cli("runs", "delete", "b", collector.folder, "--yes")
    assert refused.code == 1
    assert "a collector runs on this folder" in refused.err
    assert stored(collector.folder, doomed) == doomed.raw
    collector.terminate()
    assert cli("runs", "delete", "b", collector.folder, "--yes").code == 0
    assert not stored(collector.folder, doomed)
    assert stored(collector.folder, kept) == kept.raw


def test_deleting_needs_the_right_to_delete(tmp_path, cli):
    (tmp_path / "tokens.toml").write_text(TOKENS)
    for name in ("mine", "theirs"):
        (tmp_path / name).write_text(name)
    collector = CollectorProcess(tmp_path / "store", tmp_path / "log", tokens=str(tmp_path / "tokens.toml"))
    place = f"127.0.0.1:{collector.port}"
    fill(collector, metadata=(("authorization", "Bearer mine"),))
    assert cli("runs", place).code == 1
    assert len(cli("runs", "--token-file", tmp_path / "theirs", place).lines) == 3
    refused = cli("runs", "delete", "b", place, "--yes", "--token-file", tmp_path / "theirs")
    assert refused.code == 1
    assert "permission denied" in refused.err
    assert cli("runs", "delete", "b", place, "--yes", "--token-file", tmp_path / "mine").code == 0
    assert collector.terminate() == 0


def ask(answer: str, *arguments: object) -> tuple[int, str]:
    """Run the command at a terminal and answer its question; return exit code and what it said."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "esper_telemetry", *map(str, arguments)]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as asked:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        said, _ = asked.communicate(timeout=60)
    os.close(ours)
    return asked.returncode, said


def test_it_asks_at_a_terminal_and_deletes_nothing_where_nobody_can_be_asked(collector, cli):
    *_, doomed = fill(collector)
    place = f"127.0.0.1:{collector.port}"
    nobody = cli("runs", "delete", "b", place)
    assert nobody.code == 2
    assert "--yes" in nobody.err
    code, said = ask("n", "runs", "delete", "b", place)
    assert (code, "nothing was deleted" in said) == (1, True)
    assert stored(collector.folder, doomed) == doomed.raw
    code, said = ask("y", "runs", "delete", "b", place)
    assert (code, "deleted run b" in said) == (0, True)
    assert not stored(collector.folder, doomed)


def test_what_is_neither_a_folder_nor_an_address_is_said(tmp_path, cli):
    assert "neither a folder nor HOST:PORT" in cli("runs", tmp_path / "none").err
    assert "`info s3://lab/runs/*` reads it" in cli("runs", "s3://lab/runs").err
    assert cli("runs", tmp_path / "none").code == 1
    assert cli("runs", "127.0.0.1:1").code == 1
    assert cli("runs", "--tls", tmp_path).code == 2
    assert cli("runs").code == 2 or "Usage" in cli("runs").out + cli("runs").err
    empty = cli("runs", tmp_path)
    assert (empty.code, empty.out, empty.err) == (0, "", "there is no run\n")
    assert cli("runs", "--json", tmp_path).out == "[]\n"
