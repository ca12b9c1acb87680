"""A live run against a real collector process."""

from __future__ import annotations

import pytest

from esper_telemetry.decode.event_filter import Filter
from esper_telemetry.decode.live import LiveTail
from esper_telemetry.errors import RecordError
from esper_telemetry.uplink.endpoint import Endpoint
from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.conftest import CollectorProcess
from tests.esper_telemetry.collector.publisher import Produced, Publication, open_stub, publish


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    collector = CollectorProcess(folder / "store", folder / "log")
    yield collector
    assert collector.terminate() == 0


@pytest.fixture
def stub(collector):
    with open_stub(collector.port) as stub:
        yield stub


def tail(collector, run_id="", **wanted) -> LiveTail:
    return LiveTail(Endpoint(f"127.0.0.1:{collector.port}"), run_id, Filter(**wanted))


def seqs(events) -> list[int]:
    return [event.seq for event in events]


def test_the_last_events_of_a_stored_run_are_those_of_its_record(collector, stub):
    produced = Produced(run_id="stored")
    publish(stub, produced)
    live = tail(collector, "stored")
    events = live.last(30)
    assert seqs(events) == list(range(71, 101))
    assert events[-1].type == "scalar.logged"
    assert events[-1].data["step"] == 100
    assert live.last(0) == []
    assert seqs(live.last(1000)) == list(range(1, 101))
    assert not live.warnings


def test_what_is_wanted_and_rare_is_looked_for_further_back(collector, stub):
    produced = Produced(run_id="rare")
    publish(stub, produced)
    assert seqs(tail(collector, "rare", last_seq=12).last(5)) == [8, 9, 10, 11, 12]
    assert tail(collector, "rare", types=("seed.*",)).last(5) == []


def test_following_gives_what_is_added_and_ends_with_the_run(collector, stub):
    produced = Produced(run_id="growing")
    stream = Publication(stub).send(produced.hello(), produced.schema, *produced.batches[:2])
    stream.acked(50)
    live = tail(collector, "growing")
    assert seqs(live.last(3)) == [48, 49, 50]
    following = live.follow()
    stream.send(produced.batches[2])
    assert seqs(next(following)) == list(range(51, 76))
    stream.send(produced.batches[3], produced.close()).end().messages()
    assert seqs(next(following)) == list(range(76, 101))
    assert list(following) == []


def test_without_a_run_id_the_one_that_started_last_is_meant(collector, stub):
    newest = Produced(run_id="newest", anchor_unix_nano=(1 << 62))
    publish(stub, newest)
    assert tail(collector).run_id == "newest"


def test_numbers_that_never_came_are_told(collector, stub):
    produced = Produced(run_id="holes")
    skip = collector_pb2.Skip(first_seq=26, last_seq=50, reason=collector_pb2.SKIP_REASON_CORRUPT)
    publish(stub, produced, frames=[produced.batches[0], skip, *produced.batches[2:]])
    live = tail(collector, "holes")
    assert len(live.last(1000)) == 75
    assert any("26 to 50" in warning for warning in live.warnings)


def test_a_run_that_is_not_there_and_a_collector_that_is_not_there_are_errors(collector):
    with pytest.raises(RecordError, match=r"has no run 'nowhere'; esper-telemetry runs list .* shows those"):
        tail(collector, "nowhere")
    with pytest.raises(RecordError, match="unavailable"):
        LiveTail(Endpoint("127.0.0.1:1"), "", Filter())


def test_following_goes_on_over_a_restart_of_the_collector(tmp_path):
    produced = Produced(run_id="restart")
    first = CollectorProcess(tmp_path / "store", tmp_path / "log")
    try:
        with open_stub(first.port) as stub:
            stream = Publication(stub).send(produced.hello(), produced.schema, *produced.batches[:2])
            stream.acked(50)
        live = tail(first, "restart")
        assert seqs(live.last(1)) == [50]
        first.kill()
        second = CollectorProcess(tmp_path / "store", tmp_path / "log", listen=f"127.0.0.1:{first.port}")
        try:
            with open_stub(second.port) as stub:
                publish(stub, produced)
            following = live.follow(sleep=lambda seconds: None)
            assert seqs(next(following)) == list(range(51, 76))
            assert seqs(next(following)) == list(range(76, 101))
            assert list(following) == []
        finally:
            second.terminate()
    finally:
        if first.process.poll() is None:
            first.kill()
