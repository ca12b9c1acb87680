"""What systemd would hear: a datagram for each state."""

from __future__ import annotations

import socket

import pytest

from esper_telemetry.daemon.systemd_notify import tell_manager, watchdog_interval


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_is_one_datagram(tmp_path, monkeypatch, abstract):
    name = f"@esper-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1) if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert tell_manager("READY=1", "STATUS=serving")
        assert manager.recv(100) == b"READY=1\nSTATUS=serving"


def test_without_a_manager_nothing_is_sent_and_nothing_fails(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not tell_manager("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not tell_manager("READY=1")


def test_the_watchdog_is_told_twice_in_its_patience(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert watchdog_interval() == 15.0
    monkeypatch.setenv("WATCHDOG_USEC", "x")
    assert watchdog_interval() == 0.0
