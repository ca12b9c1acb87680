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
