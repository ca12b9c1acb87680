"""Whatever comes: no task dead, no ack without a file, no limit passed, memory flat. Bounded; `-m soak` runs 20,000."""

from __future__ import annotations

import contextlib
import random
import urllib.request

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_telemetry.collector.auth import TokenFile
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.collector.retention import RetentionRule
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.collector.settings import Settings
from esper_telemetry.errors import ConfigError
from esper_telemetry.jetstream.deployment import LogSettings
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.v1 import collector_pb2
from esper_telemetry.wire import is_loopback, split_address
from tests.esper_telemetry.collector.fuzzing import UNPLANNED, Fuzz, mutate, readable, resident_kib, spoil
from tests.esper_telemetry.collector.publisher import Produced, open_stub, publish, stored

TOKENS = """
[tenant.fuzz]
run_prefix = ""
max_run_bytes = 600_000
san = ["fuzz.example"]
may = ["read", "write", "delete"]
[tenant.other]
bytes_per_s = 1_000_000
max_readers = 3
[[token]]
tenant = "fuzz"
token = "fuzz"
may = ["read", "write", "delete"]
[[token]]
tenant = "other"
token = "other"
expires = 2099-01-01T00:00:00Z
"""
MAX_RUN_BYTES = 600_000
# A stream is stopped once its run has what it may have: what was on its way by then is kept.
ON_THE_WAY = 300_000


def failures(collector) -> dict[str, float]:
    """Return the metrics that must be 0 whatever came."""
    with urllib.request.urlopen(f"http://127.0.0.1:{collector.metrics_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    names = ("task_failures_total", "failed_calls_total", "storage_errors_total", "lost_numbers_total")
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    return {name: value for name, value in found.items() if any(each in name for each in names) and value}


def fuzz(start_collector, tmp_path, count: int) -> None:
    (tmp_path / "tokens.toml").write_text(TOKENS)
    collector = start_collector(tokens=str(tmp_path / "tokens.toml"), validation="sample")
    good = Produced(run_id="good")
    talk = Fuzz(collector, "fuzz", seed=count)
    for _ in range(count // 4):
        talk.converse()
    before = resident_kib(collector.process.pid)
    for _ in range(count - count // 4):
        talk.converse()
    grown = resident_kib(collector.process.pid) - before
    assert not talk.unplanned
    assert len(talk.statuses) >= 5, "the inputs reach several checks"
    assert failures(collector) == {}
    with open_stub(collector.port) as stub:
        publish(stub, good, metadata=(("authorization", "Bearer other"),))
    talk.close()
    assert collector.terminate() == 0
    assert "Traceback" not in collector.log()
    assert stored(collector.folder, good) == good.raw
    there = readable(collector.folder)
    assert len(talk.acked) >= 5
    assert {key: last for key, last in talk.acked.items() if there.get(key, 0) < last} == {}, "acked and in no file"
    for folder in collector.folder.glob("run-*"):
        assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_RUN_BYTES + ON_THE_WAY
    assert grown < 24 << 10, f"{grown:,} KiB more after {count:,} conversations"


def test_a_few_hundred_conversations_with_something_wrong(start_collector, tmp_path):
    fuzz(start_collector, tmp_path, 400)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_twenty_thousand_conversations_with_something_wrong(start_collector, tmp_path):
    fuzz(start_collector, tmp_path, 20_000)


def token_files(count: int, path) -> None:
    """Write files that are nearly right; each is taken or leaves the old grants in force."""
    rng = random.Random(count)
    path.write_text(TOKENS)
    file = TokenFile(path)
    right = file.grants
    taken = 0
    for _ in range(count):
        data = TOKENS.encode()
        if rng.random() < 0.5:
            lines = data.splitlines(keepends=True)
            lines[rng.randrange(len(lines))] = rng.choice(lines)
            data = b"".join(lines)
        words = [b"true", b"[]", b"{}", b"-1", b"nan", b"inf", b"1e400", b"'x'", b"[[1]]", b"2026-01-01", b"9" * 30]
        if rng.random() < 0.5:
            at = data.index(b"=", rng.randrange(len(data) - 60)) + 1
            data = data[:at] + rng.choice(words) + data[data.index(b"\n", at) :]
        path.write_bytes(spoil(data, rng) if rng.random() < 0.5 else data)
        before = file.grants
        file._stamp = None  # a file system's clock is slower than this loop
        file.refresh()
        if file.problem:
            assert file.grants is before
            assert len(file.problem) < 1000
            assert 'fuzz"' not in file.problem
        else:
            taken += 1
    path.write_text(TOKENS)
    file.refresh()
    assert (file.problem, file.grants) == ("", right)
    assert 0 < taken < count


def test_token_files_that_are_nearly_right(tmp_path):
    token_files(300, tmp_path / "tokens.toml")


@pytest.mark.soak
def test_twenty_thousand_token_files_that_are_nearly_right(tmp_path):
    token_files(20_000, tmp_path / "tokens.toml")


def schemas(count: int) -> None:
    """Check schemas that are nearly right; each is taken as it is or refused."""
    rng = random.Random(count)
    produced = Produced(frames=1)
    key = ProducerKey(produced.run_id, produced.producer_id)
    check, taken = SchemaCheck(CollectorLimits(descriptors_bytes=1 << 20)), 0
    for _ in range(count):
        schema = collector_pb2.Schema()
        schema.CopyFrom(produced.schema)
        for _ in range(rng.randrange(3)):
            mutate(schema.header, rng)
        if rng.random() < 0.3:
            schema.header.file_descriptor_set = spoil(schema.header.file_descriptor_set, rng)
        if rng.random() < 0.9:
            schema.fingerprint = schema_fingerprint(schema.header)
        with contextlib.suppress(Refused):
            put = check.check(schema, key)
            taken += 1
            assert put.descriptors == schema.header.file_descriptor_set
    remembered = sum(map(len, check._good.values()))
    assert remembered <= (8 << 20) + (1 << 20)
    assert 0 < taken < count


def test_schemas_that_are_nearly_right():
    schemas(300)


@pytest.mark.soak
def test_twenty_thousand_schemas_that_are_nearly_right():
    schemas(20_000)


ADDRESSES = st.one_of(
    st.text(max_size=30),
    st.builds(
        "{}:{}".format, st.sampled_from(["127.0.0.1", "[::1]", "localhost", "", "192.0.2.1", "[", "a b"]), st.text()
    ),
    st.builds("{}:{}".format, st.ip_addresses(), st.integers(-1, 70_000)),
)
NUMBERS = st.one_of(st.floats(), st.floats(0, 100))
COUNTS = st.integers(-1, 1 << 70)
SERVERS = st.one_of(st.text(), st.text(max_size=20).map("nats://{}".format))


@settings(max_examples=300)
@given(listen=ADDRESSES, said=st.tuples(st.floats(), st.floats(), st.integers(-2, 10)), insecure=st.booleans())
def test_settings_are_taken_or_named(tmp_path_factory, listen, said, insecure):
    min_free, days, streams = said
    given_ = Settings(
        listen=listen,
        directory=tmp_path_factory.getbasetemp(),
        min_free=min_free,
        retention=(RetentionRule(days=days),),
        limits=CollectorLimits(streams=streams),
        insecure=insecure,
    )
    with contextlib.suppress(ConfigError):
        given_.check()
        assert 0 <= min_free <= 1
        assert days >= 0
        assert streams > 0
        assert insecure or is_loopback(listen)
        if not listen.startswith("unix:"):
            host, port = split_address(listen)
            assert host
            assert 0 <= port <= 65535


@settings(max_examples=300)
@given(said=st.tuples(SERVERS, st.sampled_from(["esper", "", "a b"]), COUNTS, COUNTS, NUMBERS))
def test_settings_of_a_log_are_taken_or_named(said):
    with contextlib.suppress(ConfigError):
        log = LogSettings.of(*said)
        assert log.urls
        assert log.max_bytes > 0


def test_no_status_is_unplanned_that_the_protocol_names():
    from esper_telemetry.collector.refusal import STATUS

    assert {grpc.StatusCode[name] for name in STATUS.values()} & UNPLANNED == {grpc.StatusCode.UNAVAILABLE}
