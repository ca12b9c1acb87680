"""Ancestors, as the system knows them."""

import multiprocessing
import os
import subprocess
import sys

from esper_telemetry.recorder import handle


def test_a_process_descends_from_itself_and_its_ancestors_and_from_nobody_else(in_child):
    mine = os.getpid()
    assert handle.descends_from(mine)
    assert handle.descends_from(os.getppid())
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not handle.descends_from(other.pid)
    other.communicate(b"\n")

    def grandchild():
        assert handle.descends_from(mine)
        in_child(lambda: handle.descends_from(mine) or os._exit(2))

    in_child(grandchild)


def test_a_child_descends_from_its_parent_where_there_is_no_proc(tmp_path, monkeypatch, in_child):
    monkeypatch.setattr(handle, "_PROC", tmp_path / "none")
    mine = os.getpid()
    in_child(lambda: handle.descends_from(mine) or os._exit(2))
    assert handle.machine() == handle.platform.node()
    assert multiprocessing.parent_process() is None or handle.descends_from(multiprocessing.parent_process().pid)


def test_a_machine_is_told_by_more_than_its_name(in_child):
    here = handle.machine()
    assert len(here.split(" ")) > 1
    in_child(lambda: handle.machine() == here or os._exit(2))
