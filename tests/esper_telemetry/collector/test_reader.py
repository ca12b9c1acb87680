import grpc
import pytest

from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.publisher import Produced, Publication, open_stub, publish, refusal_of


@pytest.fixture
def collector(shared_collector):
    return shared_collector


@pytest.fixture
def stub(collector):
    with open_stub(collector.port) as stub:
        yield stub


def subscribe(stub, run_id, **request):
    return stub.Subscribe(collector_pb2.SubscribeRequest(run_id=run_id, **request), timeout=60)


def next_of(call, kind):
    return next(getattr(frame, kind) for frame in call if frame.WhichOneof("content") == kind)


def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    return refusal_of(caught.value)


def test_a_reader_gets_what_is_stored_then_what_comes_then_the_end(stub):
    produced = Produced(run_id="live")
    stream = Publication(stub).send(produced.hello(), produced.schema, *produced.batches[:2])
    stream.acked(50)
    call = subscribe(stub, "live")
    assert next_of(call, "schema").fingerprint == produced.schema.fingerprint
    assert [next_of(call, "batch").payload for _ in range(2)] == produced.raw[:2]
    stream.send(produced.batches[2])
    assert next_of(call, "batch").payload == produced.raw[2]
    stream.send(produced.batches[3], produced.close()).end().messages()
    assert next_of(call, "batch").payload == produced.raw[3]
    close = next_of(call, "close")
    assert (close.final_seq, close.outcome) == (100, collector_pb2.CLOSE_OUTCOME_FINISHED)
    call.cancel()


def test_all_producers_of_a_run_are_followed_and_one_that_comes_later_too(stub):
    one, other = Produced(run_id="ranks"), Produced(run_id="ranks", rank=1)
    publish(stub, one)
    call = subscribe(stub, "ranks")
    assert [next_of(call, "batch").payload for _ in range(4)] == one.raw
    publish(stub, other)
    assert [next_of(call, "batch").payload for _ in range(4)] == other.raw
    call.cancel()


def test_a_reader_can_end_with_what_is_stored_and_go_on_from_a_position(stub):
    produced = Produced(run_id="positions")
    publish(stub, produced)
    frames = list(subscribe(stub, "positions", stored_only=True))
    assert [frame.WhichOneof("content") for frame in frames] == ["schema", *["batch"] * 4, "close"]
    position = collector_pb2.Position(producer_id=produced.producer_id, from_seq=76)
    rest = list(subscribe(stub, "positions", stored_only=True, positions=[position]))
    assert [frame.batch.first_seq for frame in rest if frame.HasField("batch")] == [76]
    assert not [
        frame for frame in subscribe(stub, "positions", stored_only=True, types=["no.such"]) if frame.HasField("batch")
    ]


def test_only_new_leaves_out_the_past(stub):
    produced = Produced(run_id="new")
    stream = Publication(stub).send(produced.hello(), produced.schema, *produced.batches[:2])
    stream.acked(50)
    call = subscribe(stub, "new", only_new=True)
    assert next_of(call, "schema").header.run_id == "new"
    stream.send(produced.batches[2])
    assert next_of(call, "batch").first_seq == 51
    call.cancel()
    stream.end().messages()


def test_skips_are_told(stub):
    produced = Produced(run_id="skips")
    skip = collector_pb2.Skip(first_seq=26, last_seq=75, reason=collector_pb2.SKIP_REASON_TOO_BIG)
    frames = [produced.batches[0], skip, produced.batches[3]]
    publish(stub, produced, frames=frames)
    found = [frame.skip for frame in subscribe(stub, "skips", stored_only=True) if frame.HasField("skip")]
    assert found == [skip]


def test_an_unknown_run_and_a_hostile_one_are_refused(stub):
    assert refused(subscribe(stub, "nowhere")) == (grpc.StatusCode.NOT_FOUND, "NO_RUN")
    assert refused(subscribe(stub, "../x")) == (grpc.StatusCode.INVALID_ARGUMENT, "IDENTITY")


def test_a_quiet_run_sends_heartbeats_and_readers_are_counted(start_collector):
    collector = start_collector(limits={"heartbeat_s": 0.1, "readers": 1})
    produced = Produced()
    with open_stub(collector.port) as stub:
        publish(stub, produced)
        call = subscribe(stub, produced.run_id)
        assert next_of(call, "heartbeat").sent_unix_nano > 0
        assert refused(subscribe(stub, produced.run_id)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STREAMS")
        assert collector.terminate() == 0, "a reader does not hold up the end"
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


def test_runs_are_listed_with_their_producers(collector, stub):
    produced = Produced(run_id="listed-1")
    publish(stub, produced)
    answer = stub.ListRuns(collector_pb2.ListRunsRequest(prefix="listed-"), timeout=10)
    (run,) = answer.runs
    (summary,) = run.producers
    assert run.run_id == "listed-1"
    assert (summary.producer_id, summary.durable_seq, summary.connected) == (produced.producer_id, 100, False)
    assert summary.outcome == collector_pb2.CLOSE_OUTCOME_FINISHED
    assert summary.stored_bytes == sum(path.stat().st_size for path in collector.folder.glob("listed-1/*"))
    assert run.producer_count == 1


def test_a_restart_forgets_no_run(start_collector):
    produced = Produced()
    collector = start_collector()
    with open_stub(collector.port) as stub:
        publish(stub, produced)
    collector.kill()
    with open_stub(start_collector().port) as stub:
        (run,) = stub.ListRuns(collector_pb2.ListRunsRequest(), timeout=10).runs
        assert run.producers[0].durable_seq == 100
        frames = list(subscribe(stub, produced.run_id, stored_only=True))
        assert [frame.batch.payload for frame in frames if frame.HasField("batch")] == produced.raw
