"""Records behind URLs, with fsspec's file system in memory: the same events, read by ranges."""

import os

import fsspec
import pytest

import esper_telemetry as et
from esper_telemetry.errors import ConfigError, NotARecordError, RecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.remote import RemoteFolder, RemoteSource, url_of
from esper_telemetry.recordfile.source import open_source


@pytest.fixture
def place(request):
    """A folder in memory that is gone after the test."""
    system = fsspec.filesystem("memory")
    root = f"/{request.node.name}"
    yield system, root
    if system.exists(root):
        system.rm(root, recursive=True)


def put_run(place, folder, name):
    system, root = place
    for path in folder.glob("*.esr.zst"):
        system.pipe_file(f"{root}/{name}/{path.name}", path.read_bytes())
    return f"memory:/{root}/{name}"


def make_run(tmp_path, name, count=30):
    with et.start_run(tmp_path, name=name) as run:
        for number in range(count):
            run.emit(et.events.ScalarLogged, name="loss", value=number / 3, step=number)
    return run.folder


def test_a_url_stays_one_when_it_becomes_a_path_and_a_path_is_none():
    from pathlib import Path

    assert url_of(Path("s3://bucket/run/a.esr.zst")) == "s3://bucket/run/a.esr.zst"
    assert url_of("gs://bucket") == "gs://bucket"
    for path in ("runs/x", "/tmp/x", "C:/runs", "C:\\runs", "-", "a:b/c"):  # noqa: S108 - nothing is written there
        assert url_of(path) is None


def test_a_run_a_file_and_a_pattern_are_read_as_on_the_disk(tmp_path, place):
    folder = make_run(tmp_path, "one")
    url = put_run(place, folder, "one")
    here = [(event.type, event.seq, event.data) for event in et.read(folder)]
    assert [(event.type, event.seq, event.data) for event in et.read(url)] == here
    files = RemoteFolder(url).files()
    assert [(event.type, event.seq, event.data) for event in et.read(files)] == here
    other = make_run(tmp_path, "two")
    put_run(place, other, "two")
    both = [*et.read(url.rpartition("/")[0] + "/*")]
    assert {event.run_id for event in both} == {event.run_id for event in [*et.read(folder), *et.read(other)]}


def test_a_url_without_records_names_what_is_there(tmp_path, place):
    url = put_run(place, make_run(tmp_path, "one"), "one")
    above = url.rpartition("/")[0]
    with pytest.raises(NotARecordError, match=r"it has folders: one; pass one of them, or 'memory://.*/\*'"):
        list(et.read(above))
    with pytest.raises(NotARecordError, match="no file matches this pattern"):
        list(et.read(above + "/x*"))
    with pytest.raises(NotARecordError, match="there is no such file"):
        list(et.read(f"{url}/gone.esr.zst"))
    with pytest.raises(ConfigError, match="fsspec knows no such URL"):
        list(et.read("nosuch://place/run"))


def test_a_file_of_this_machine_may_be_named_by_a_url(tmp_path):
    folder = make_run(tmp_path, "one")
    assert [event.seq for event in et.read(f"file://{folder}")] == [event.seq for event in et.read(folder)]


def test_ranges_are_those_of_the_file_whatever_was_read_before(place):
    system, root = place
    data = os.urandom(3_000_000)
    system.pipe_file(f"{root}/x.esr.zst", data)
    source = open_source(f"memory:/{root}/x.esr.zst")
    assert isinstance(source, RemoteSource)
    assert source.size == len(data)
    for offset, count in [
        *((0, 10), (2_999_990, 50), (3_000_000, 1), (262_140, 10), (0, 3_000_000), (500_000, 1_000_000)),
        *((number * 65_537 % 3_000_000, 4096) for number in range(60)),
    ]:
        assert source.read_at(offset, count) == data[offset : offset + count]
    source.close()


def test_a_file_that_is_replaced_while_it_is_read_is_noticed(tmp_path, place):
    system, root = place
    (path,) = sorted(make_run(tmp_path, "one", 4000).glob("*.esr.zst"))[:1]
    name = f"{root}/{path.name}"
    system.pipe_file(name, path.read_bytes())
    with RecordReader(f"memory:/{name}") as reader:
        system.pipe_file(name, b"short")
        reader._source._blocks.clear()
        with pytest.raises(RecordError, match=r"replaced while it was read|cannot be read"):
            reader.read_raw(next(iter(reader.frames())))


def test_a_range_of_a_file_that_became_shorter_is_an_error_and_not_fewer_bytes(place):
    system, root = place
    name = f"{root}/x.esr.zst"
    system.pipe_file(name, bytes(100_000))
    source = open_source(f"memory:/{name}")
    system.pipe_file(name, bytes(50_000))
    with pytest.raises(RecordError, match="replaced while it was read; read again"):
        source.read_at(0, 90_000)
    source.close()
