"""`esper-telemetry mcp` without its SDK, and with a place that is not there; tests of agents/ speak to it."""

from __future__ import annotations

from esper_telemetry.commands import mcp


def test_a_place_that_is_not_there_is_refused_before_anything_is_served(cli, tmp_path):
    finished = cli("mcp", tmp_path / "nowhere", stdin=b"")
    assert finished.code == 1
    assert "check the path" in finished.err


def test_without_the_sdk_the_install_is_named(cli, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError('No module named mcp', name='mcp')\n")
    finished = cli("mcp", tmp_path / "runs", stdin=b"", PYTHONPATH=str(tmp_path))
    assert finished.code == 1
    assert "pip install 'esper-telemetry[mcp]'" in finished.err
    assert mcp.command.help
