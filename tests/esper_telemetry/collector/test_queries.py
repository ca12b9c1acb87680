import asyncio
from types import SimpleNamespace

import pytest

from esper_telemetry.collector import queries
from esper_telemetry.collector.auth import EVERYBODY, Tenant
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.producers import Producer
from esper_telemetry.collector.queries import list_runs
from esper_telemetry.storage.engine import PutSchema
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.v1 import collector_pb2, record_pb2


def producer(root, run_id, number, rank=0) -> Producer:
    header = record_pb2.Header(
        run_name=f"name of {run_id}", rank=rank, stream="main", host="h", anchor_unix_nano=number
    )
    key = ProducerKey(run_id, bytes([number]) * 16)
    files = ProducerFiles(root, key)
    files.numbers.restart(number * 10)
    return Producer(files, schema=PutSchema(header, b""), stored_bytes=number)


@pytest.fixture
def producers(tmp_path):
    return [
        producer(tmp_path, "b-1", 1, rank=1),
        producer(tmp_path, "a-1", 2),
        producer(tmp_path, "b-1", 3),
        producer(tmp_path, "c", 4),
    ]


class Known:
    """A collector that has some producers in memory and nothing on its disk."""

    def __init__(self, producers, **limits) -> None:
        self.limits = CollectorLimits(**limits)
        self.roster = SimpleNamespace(producers={each.key: each for each in producers})
        self.engine = self

    async def runs(self):
        return []

    async def members(self, run_id):
        return []


def ask(producers, tenant=EVERYBODY, limits=None, **request):
    known = Known(producers, **(limits or {}))
    return asyncio.run(list_runs(known, collector_pb2.ListRunsRequest(**request), tenant))


def ids(answer):
    return [run.run_id for run in answer.runs]


def test_runs_come_by_id_with_their_producers_by_rank(producers):
    answer = ask(producers)
    assert ids(answer) == ["a-1", "b-1", "c"]
    assert answer.runs[1].run_name == "name of b-1"
    assert [(each.rank, each.durable_seq, each.stored_bytes) for each in answer.runs[1].producers] == [
        (0, 30, 3),
        (1, 10, 1),
    ]
    assert not answer.next_page_token


def test_pages_follow_each_other_without_a_gap(producers):
    first = ask(producers, page_size=2)
    assert (ids(first), first.next_page_token) == (["a-1", "b-1"], "b-1")
    second = ask(producers, page_size=2, page_token=first.next_page_token)
    assert (ids(second), second.next_page_token) == (["c"], "")


def test_a_tenant_sees_its_own_runs_only(producers):
    assert ids(ask(producers, Tenant("t", run_prefix="b-"))) == ["b-1"]
    assert ids(ask(producers, Tenant("t", run_prefix="b-"), prefix="a")) == []
    assert ids(ask(producers, prefix="a")) == ["a-1"]


def test_a_page_ends_before_it_is_too_long_for_a_message(tmp_path):
    many = [producer(tmp_path, f"r-{number:02}", number) for number in range(1, 40)]
    for each in many:
        each.labels = {f"k{number}": "v" * 1000 for number in range(60)}
    found, token = [], ""
    while True:
        answer = ask(many, limits={"page_bytes": 20_000}, page_size=1000, page_token=token)
        assert answer.ByteSize() < 21_000
        found += ids(answer)
        token = answer.next_page_token
        if not token:
            break
    assert found == [f"r-{number:02}" for number in range(1, 40)]


def test_a_page_ends_when_it_takes_long_and_the_next_one_goes_on(producers, monkeypatch):
    monkeypatch.setattr(queries, "_PAGE_S", -1.0)
    found, token = [], ""
    while True:
        answer = ask(producers, page_token=token)
        found += ids(answer)
        token = answer.next_page_token
        if not token:
            break
        assert len(answer.runs) == 1
    assert found == ["a-1", "b-1", "c"]


def test_a_run_of_more_producers_than_fit_says_how_many_there_are(tmp_path):
    run = ask([producer(tmp_path, "r", number) for number in range(1, 100)], limits={"page_bytes": 1000}).runs[0]
    assert run.producer_count == 99
    assert 0 < len(run.producers) < 99
