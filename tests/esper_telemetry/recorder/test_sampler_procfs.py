"""What /proc says, held against what this process knows of itself; absent where there is no /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from esper_telemetry.recorder.sampler import host_values, process_values
from esper_telemetry.v1.process_pb2 import SystemSampled

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a system without /proc")


@linux
def test_every_value_is_a_field_of_the_event():
    fields = set(SystemSampled.DESCRIPTOR.fields_by_name)
    found = {**process_values(), **host_values()}
    assert set(found) == fields - {"cpu_percent", "accelerators"}
    SystemSampled(**found)


@linux
def test_memory_that_is_taken_shows():
    before = process_values()["rss_bytes"]
    block = bytearray(os.urandom(1 << 20) * 64)
    assert process_values()["rss_bytes"] - before > len(block) // 2


@linux
def test_files_threads_and_children_are_counted(tmp_path):
    before = process_values()
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    files = [(tmp_path / str(number)).open("w") for number in range(7)]
    child = subprocess.Popen(["sleep", "60"])
    try:
        after = process_values()
    finally:
        child.kill()
        child.wait()
        done.set()
        for one in (*files, *threads):
            one.close() if hasattr(one, "close") else one.join()
    assert after["threads"] - before["threads"] == 5
    assert after["open_files"] - before["open_files"] >= 7
    assert after["children"] - before["children"] == 1
    assert after["children_rss_bytes"] > before["children_rss_bytes"]


@linux
def test_the_machine_has_more_memory_than_is_free():
    host = host_values()
    assert 0 < host["host_available_bytes"] <= host["host_memory_bytes"]


def test_a_command_with_spaces_and_brackets_in_its_name_hides_nothing(tmp_path):
    (tmp_path / "self").mkdir()
    columns = ["S", *map(str, range(4, 60))]
    (tmp_path / "self" / "stat").write_text(f"1 (tr) ain (x) {' '.join(columns)}\n")
    assert process_values(tmp_path) == {"threads": 20}


def test_without_proc_nothing_of_the_process_is_claimed(tmp_path):
    assert process_values(tmp_path) == {}
    assert not {"host_memory_bytes", "host_available_bytes"} & set(host_values(tmp_path))
