"""A collector's folder that is away for a while, as an unmounted disk: nothing is given up or stored twice."""

from __future__ import annotations

import pytest

from esper_telemetry.recordfile import list_run
from tests.esper_telemetry.collectorprocess import CollectorProcess, stored_frames, wait_until


@pytest.fixture
def collector(tmp_path):
    process = CollectorProcess(tmp_path / "collected")
    yield process.start()
    process.kill()


@pytest.mark.parametrize("mount_point", [True, False], ids=["an empty mount point", "nothing"])
def test_a_folder_that_comes_back_is_served_as_it_was(cli, record_run, collector, tmp_path, mount_point):
    stored, later = record_run(name="stored"), record_run(name="later")
    assert cli("push", stored, collector.address).code == 0
    collector.folder.rename(tmp_path / "away")
    if mount_point:
        collector.folder.mkdir()
    for folder in (stored, later):
        refused = cli("push", folder, collector.address, "--give-up-after", "1")
        assert refused.code == 1
        assert "mount it or move it back" in refused.err
    listed = cli("runs", "list", collector.address)
    assert listed.code == 1
    assert "mount it or move it back" in listed.err
    if mount_point:
        collector.folder.rmdir()  # nothing was made below it
    (tmp_path / "away").rename(collector.folder)
    wait_until(lambda: cli("health", collector.address).code == 0)
    again = cli("push", stored, collector.address)
    assert again.code == 0
    assert "sent 0 frames" in again.err
    assert cli("push", later, collector.address).code == 0
    for folder in (stored, later):
        assert len(collector.segments(folder.name)) == 1
        assert collector.frames(folder.name) == stored_frames(list_run(folder))
