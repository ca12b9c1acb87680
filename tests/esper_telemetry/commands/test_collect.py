"""The verb as people run it: it starts, takes a stream, drains on SIGTERM; wrong options are told at once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

from tests.esper_telemetry.collector.publisher import Produced, open_stub, publish, stored


def test_collect_receives_and_drains(tmp_path, cli):
    command = [sys.executable, "-m", "esper_telemetry", "collect", "--listen", "127.0.0.1:0", "--dir", tmp_path / "d"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stderr.readline, "")
        port = next(int(found[1]) for line in lines if (found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line)))
        assert cli("health", f"127.0.0.1:{port}").out == "SERVING\n"
        produced = Produced()
        with open_stub(port) as stub:
            publish(stub, produced)
        assert stored(tmp_path / "d", produced) == produced.raw
        assert cli("cat", tmp_path / "d" / produced.run_id).out.count("\n") == 100
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(timeout=60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()


def test_a_collector_that_cannot_run_says_why_in_one_line(tmp_path, cli):
    refused = cli("collect", "--listen", "0.0.0.0:0", "--dir", tmp_path)
    assert refused.code == 1
    assert "refusing to listen on 0.0.0.0:0 without TLS" in refused.err.splitlines()[-1]
    assert cli("collect", "--listen", "nonsense", "--dir", tmp_path).code == 1
    assert cli("collect", "--listen", "127.0.0.1:0", "--dir", tmp_path / "a" / "b").code == 1
    assert cli("collect").code == 2


def test_a_check_says_what_a_start_would_and_starts_nothing(tmp_path, cli):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('[tenant.a]\n[[token]]\ntenant = "a"\ntoken = "hidden"\n')
    started = ("collect", "--dir", tmp_path / "d", "--listen", "127.0.0.1:0", "--check")
    fine = cli(*started, "--tokens", tokens)
    assert (fine.code, fine.out) == (0, "")
    assert "1 tokens" in fine.err
    assert "hidden" not in fine.err
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.toml"]
    tokens.write_text("[tenant.a]\nrun_prefix = 7\n")
    wrong = cli(*started, "--tokens", tokens)
    assert wrong.code == 2
    assert "run_prefix 7 is of the wrong kind" in wrong.err
    assert cli(*started, "--min-free", "200").code == 2
    assert cli(*started, "--tls-cert", tokens).code == 2
    assert cli("collect", "--engine", "http://x", "--check").code == 2
