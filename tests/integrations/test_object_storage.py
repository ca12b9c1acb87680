"""Sealed segments in S3: servers of others on loopback, one of which dies in the middle of an upload."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import esper_telemetry as et
from esper_telemetry.recordfile import verify
from tests.integrations.s3servers import BUCKET, Wire, clean_environment, start_moto, start_s3rver

pytestmark = pytest.mark.integrations
pytest.importorskip("obstore", reason="the extra s3 is not installed")
pytest.importorskip("grpc_health", reason="the extra collector is not installed")

URL = f"s3://{BUCKET}/runs"
# An upload in one request up to 5 MiB, in parts beyond: both are cut.
LARGE, SMALL = 2400, 20


class Collector:
    """A collector that archives; its environment names the server."""

    def __init__(self, folder, environment, *options: str) -> None:
        self.log = folder / "collector.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "esper_telemetry", "collect", "--listen", "127.0.0.1:0"),
                    *("--dir", str(folder / "store"), "--archive", URL, *options),
                ],
                env=environment, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while "listening on" not in (text := self.log.read_text().rpartition("started")[2]):
            assert self.process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.1)
        self.address = text.rpartition("listening on ")[2].split()[0].rstrip(";")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self._end() == 0, self.log.read_text()

    def _end(self) -> int:
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        with self.log.open("a") as log:
            log.write("\nstarted again\n")
        return code


def make_run(folder, name, texts):
    """Record a run whose events hold noise: compressed, it takes about 5 KB an event."""
    everything = et.RecordOptions(buffer_bytes=1 << 30)  # however slow the machine is
    with et.start_run(folder / "runs", name=name, record=everything) as run:
        for number in range(texts):
            run.emit(et.events.TextLogged, name=str(number), text=os.urandom(7500).hex()[:10_000])
    return run.folder


def command(environment, *arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "esper_telemetry", *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def numbers(text):
    return [json.loads(line)["seq"] for line in text.splitlines()]


def archived(environment, run) -> dict[str, int]:
    """Return the names that the manifest of a run lists, each with its last number; none where there is none yet."""
    from obstore import get
    from obstore.store import from_url

    store = from_url(URL, client_options={"allow_http": True}, **{
        name.removeprefix("AWS_").lower().replace("endpoint_url", "endpoint"): value
        for name, value in environment.items() if name.startswith("AWS_")
    })  # fmt: skip
    try:
        listed = json.loads(bytes(get(store, f"{run}/manifest.json").bytes()))["segments"]
    except Exception:  # noqa: BLE001 - no server, or no object
        return {}
    return {each["name"]: each["last_seq"] for each in listed}


def wait_until_archived(environment, runs, folder) -> None:
    deadline = time.monotonic() + 240
    waiting = {run.name: max(event.seq for event in et.read(run)) for run in runs}
    while waiting:
        assert time.monotonic() < deadline, (folder / "collector.log").read_text()[-3000:]
        waiting = {
            run: last for run, last in waiting.items() if max(archived(environment, run).values(), default=0) < last
        }
        time.sleep(0.3)


@pytest.fixture(params=[start_moto, start_s3rver], ids=["moto", "s3rver"])
def server(request, tmp_path):
    found = request.param(tmp_path)
    yield found
    found.kill()


def test_what_a_collector_archived_is_read_by_its_url(server, tmp_path):
    environment = clean_environment(**server.environment())
    first, second = make_run(tmp_path, "first", SMALL), make_run(tmp_path, "second", LARGE)
    collector = Collector(tmp_path, environment)
    command(environment, "push", first, second, collector.address)
    wait_until_archived(environment, [first, second], tmp_path)
    collector.stop()
    local = command(environment, "cat", first, "--format", "json")
    assert command(environment, "cat", f"{URL}/{first.name}", "--format", "json") == local
    everything = json.loads(command(environment, "info", f"{URL}/*", "--json"))
    assert len(everything["streams"]) == 2
    assert not everything["warnings"]
    sql = "SELECT count(*) AS n FROM text.logged"
    assert json.loads(command(environment, "query", sql, f"{URL}/{second.name}", "--json"))["n"] == LARGE
    segments = [f"{URL}/{first.name}/{segment}" for segment in archived(environment, first.name)]
    read = f"import esper_telemetry as et; print(sum(1 for _ in et.read({segments!r})))"
    counted = subprocess.run([sys.executable, "-c", read], env=environment, capture_output=True, text=True, check=True)
    assert int(counted.stdout) == len(local.splitlines())


@pytest.mark.parametrize(
    "limit", [300_000, 7_000_000, 11_000_000], ids=["at its beginning", "in a part", "near its end"]
)
def test_a_server_that_dies_in_the_middle_of_an_upload_loses_nothing_and_has_nothing_twice(tmp_path, limit):
    server = start_s3rver(tmp_path)
    wire = Wire(server.port, limit, server.kill)
    try:
        environment = clean_environment(**server.environment(wire.port))
        runs = [make_run(tmp_path, "small", SMALL), make_run(tmp_path, "large", LARGE)]
        collector = Collector(tmp_path, environment)
        command(environment, "push", *runs, collector.address)
        assert wire.cut.wait(120), collector.log.read_text()
        time.sleep(1)
        collector.kill()
        server.start()
        collector = Collector(tmp_path, environment)
        wait_until_archived(environment, runs, tmp_path)
        collector.stop()
        direct = clean_environment(**server.environment())
        for run in runs:
            sent = numbers(command(direct, "cat", run, "--format", "json"))
            assert numbers(command(direct, "cat", f"{URL}/{run.name}", "--format", "json")) == sent
            assert len(set(sent)) == len(sent)
    finally:
        wire.close()
        server.kill()


def test_retention_deletes_no_segment_that_a_dying_server_has_not_stored_whole(tmp_path):
    """Segments are old at once; the server dies in an upload, is away for restarts of the collector, and returns."""
    server = start_s3rver(tmp_path)
    wire = Wire(server.port, 3_000_000, server.kill)
    environment = clean_environment(**server.environment(wire.port))
    stored, seen = tmp_path / "store", set()
    old_at_once = ("--retain-days", "0.00001", "--no-compact")

    def segments(run):
        return {path.name for path in (stored / run.folder.name).glob("*.esr.zst")}

    def gone_but_not_whole(run):
        """Look at the server's own files: what is not here any more has to be there, and readable to its end."""
        found = []
        for name in seen - segments(run):
            there = tmp_path / f"objects/{BUCKET}/runs/{run.folder.name}/{name}._S3rver_object"
            if not there.exists() or not verify(there).good:
                found.append(name)
        return found

    everything = et.RecordOptions(buffer_bytes=1 << 30, compact=False)
    collector = Collector(tmp_path, environment, *old_at_once)
    try:
        with et.start_run(tmp_path / "runs", name="aging", record=everything) as run:
            for turn in range(6):
                for number in range(300):
                    run.emit(et.events.TextLogged, name=str(number), text=os.urandom(7500).hex()[:10_000])
                run.flush()
                command(environment, "push", run.folder, collector.address)
                seen |= segments(run)
                if turn == 4:
                    assert wire.cut.wait(120), collector.log.read_text()
                    assert not gone_but_not_whole(run)
                    assert len(segments(run)) > 1, "what could not be sent is here"
                    server.start()
                collector.kill()  # the next start seals what is open, and retention takes its turn
                collector = Collector(tmp_path, environment, *old_at_once)
        command(environment, "push", run.folder, collector.address)
        wait_until_archived(environment, [run.folder], tmp_path)
        collector.stop()
        collector = Collector(tmp_path, environment, *old_at_once)
        deadline = time.monotonic() + 60
        while len(segments(run)) > 1:  # the last one of a producer stays
            assert time.monotonic() < deadline, (segments(run), collector.log.read_text()[-3000:])
            time.sleep(0.2)
        assert not gone_but_not_whole(run)
        collector.stop()
        direct = clean_environment(**server.environment())
        sent = numbers(command(direct, "cat", run.folder, "--format", "json"))
        assert len(seen) > 3
        assert numbers(command(direct, "cat", f"{URL}/{run.folder.name}", "--format", "json")) == sent
        assert sent == list(range(1, len(sent) + 1))
    finally:
        collector.process.kill()
        wire.close()
        server.kill()
