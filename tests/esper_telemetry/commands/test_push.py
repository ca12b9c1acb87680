"""`push`, to a real collector."""

from __future__ import annotations

import re
import shutil

import pytest

from esper_telemetry import RecordOptions
from esper_telemetry.recordfile import RecordReader, list_run
from tests.esper_telemetry.collectorprocess import CollectorProcess, stored_frames, wait_until


@pytest.fixture
def collector(tmp_path):
    process = CollectorProcess(tmp_path / "collected")
    yield process.start()
    process.kill()


def test_a_run_is_sent_once_however_often_it_is_pushed(cli, record_run, collector):
    folder = record_run(record=RecordOptions(compact=False))
    first = cli("push", folder, collector.address)
    assert first.code == 0, first.err
    assert first.out == ""
    assert "sent 2 frames, " in first.err
    second = cli("push", folder, collector.address)
    assert second.code == 0
    assert "sent 0 frames" in second.err
    assert collector.frames(folder.name) == stored_frames(list_run(folder))


def test_what_was_sent_stands_every_check_and_is_the_same_run(cli, record_run, collector):
    folder = record_run()
    assert cli("push", folder, collector.address).code == 0
    wait_until(lambda: cli("verify", collector.folder / folder.name).code == 0)
    same = cli("diff", "--exact", folder, collector.folder / folder.name)
    assert same.code == 0, same.out + same.err


def test_several_files_and_folders_go_at_once(cli, record_run, collector):
    one, other = record_run(name="one"), record_run(name="other")
    assert cli("push", one, *list_run(other), collector.address).code == 0
    for folder in (one, other):
        assert collector.frames(folder.name) == stored_frames(list_run(folder))


def test_following_a_finished_run_ends(cli, record_run, collector):
    folder = record_run()
    assert cli("push", "--follow", "--remove", folder, collector.address).code == 0
    assert [path.name for path in folder.iterdir()] == ["agent.log"]


def test_a_damaged_record_is_sent_as_far_as_it_can_be_read(cli, record_run, collector):
    folder = record_run()
    (path,) = list_run(folder)
    path.write_bytes(path.read_bytes()[:100])
    finished = cli("push", folder, collector.address)
    assert finished.code == 3
    assert "warning" in finished.err


def test_a_collector_that_is_away_is_an_error_that_says_what_to_do(cli, record_run):
    finished = cli("push", "--give-up-after", "0.3", record_run(), "127.0.0.1:9")
    assert finished.code == 1
    assert re.search(r"given up after 0\.\d s without progress", finished.err)
    assert "push the folder again" in finished.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a:1",), "Missing argument"),
        (("--follow", ".", ".", "a:1"), "one run folder"),
        (("--remove", ".", "a:1"), "--follow"),
        (("nowhere.esr.zst", "a:1"), "nowhere.esr.zst"),
    ],
)
def test_a_mistake_is_a_usage_error(cli, arguments, words):
    finished = cli("push", *arguments)
    assert finished.code == 2
    assert words in finished.err


def test_an_address_that_is_none_is_said(cli, record_run):
    finished = cli("push", record_run(), "nowhere")
    assert finished.code == 1
    assert "host:port" in finished.err


def test_a_bad_file_in_a_folder_does_not_keep_the_others_from_being_sent(cli, record_run, collector):
    folder = record_run(record=RecordOptions(compact=False))
    (good,) = list_run(folder)
    good.with_name(good.name.replace("000001", "000002")).write_bytes(b"")
    (folder / "notes.esr.zst").write_text("no record")
    (folder / f"._{good.name}").write_text("no record")
    shutil.copy(good, folder / "a copy.esr.zst")
    finished = cli("push", folder, collector.address)
    assert finished.code == 3, finished.err
    assert all(name in finished.err for name in ("000002", "notes", "._"))
    assert "sent 2 frames" in finished.err, "a copy is not sent again"
    assert collector.frames(folder.name) == stored_frames([good])
    alone = cli("push", folder / "notes.esr.zst", collector.address)
    assert alone.code == 1


def test_a_frame_that_rotted_on_the_disk_is_never_stored_for_good(cli, record_run, collector):
    folder = record_run(record=RecordOptions(compact=False))
    (path,) = list_run(folder)
    with RecordReader(path) as reader:
        *_, last = reader.frames()
        numbers = f"numbers {last.first_seq:,} to {last.last_seq:,} could not be sent: corrupt"
    data = bytearray(path.read_bytes())
    data[last.offset + last.compressed_size // 2] ^= 0xFF
    path.write_bytes(data)
    finished = cli("push", folder, collector.address)
    assert finished.code == 3
    assert numbers in finished.err
    assert "does not decompress" in finished.err
    assert collector.frames(folder.name) == stored_frames([path])[:-1]


def test_a_filtered_copy_does_not_keep_the_original_from_being_stored(cli, record_run, collector, tmp_path):
    folder = record_run()
    part = tmp_path / "part.esr.zst"
    assert cli("filter", *list_run(folder), "--seq", "2:2", "-o", part).code == 0
    refused = cli("push", part, collector.address)
    assert refused.code == 1
    assert "push the original" in refused.err
    assert cli("push", folder, collector.address).code == 0
    assert collector.frames(folder.name) == stored_frames(list_run(folder))
