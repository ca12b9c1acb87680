"""The exit code is what a probe looks at."""

from __future__ import annotations

import socket


def test_nobody_at_home_is_a_problem_said_in_one_line(cli):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        finished = cli("health", f"127.0.0.1:{free.getsockname()[1]}", "--timeout", "5")
    assert finished.code == 4
    assert finished.out.startswith("UNAVAILABLE: ")


def test_a_certificate_file_that_is_not_there_is_a_failure(cli, tmp_path):
    finished = cli("health", "localhost:1", "--tls-ca", tmp_path / "gone")
    assert finished.code == 2
    assert "does not exist" in finished.err
