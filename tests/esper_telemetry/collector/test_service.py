import contextlib
import resource
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from esper_telemetry.v1 import collector_pb2
from tests.esper_telemetry.collector.certificate_files import make_certificate
from tests.esper_telemetry.collector.publisher import (
    Produced,
    Publication,
    client_message,
    open_stub,
    publish,
    refusal_of,
    stored,
)


@pytest.fixture
def collector(shared_collector):
    return shared_collector


@pytest.fixture
def stub(collector):
    with open_stub(collector.port) as stub:
        yield stub


def push(stub, produced, epoch=1, messages=None):
    contents = [produced.schema, *produced.batches, produced.close()] if messages is None else messages
    request = collector_pb2.PushBatchRequest(hello=produced.hello(epoch), messages=map(client_message, contents))
    return stub.PushBatch(request, timeout=60)


def test_a_push_returns_when_everything_is_durable(collector, stub):
    produced = Produced()
    ack = push(stub, produced)
    assert (ack.durable_seq, ack.accepted_seq, ack.duplicates) == (100, 100, 0)
    assert stored(collector.folder, produced) == produced.raw


def test_a_push_of_what_is_there_stores_nothing(collector, stub):
    produced = Produced()
    push(stub, produced)
    assert push(stub, produced, 2).duplicates == 4
    assert stored(collector.folder, produced) == produced.raw


def test_a_push_with_a_bad_message_is_refused_and_what_came_before_it_is_kept(collector, stub):
    produced = Produced()
    with pytest.raises(grpc.RpcError) as caught:
        push(stub, produced, messages=[produced.schema, produced.batches[0], produced.hello(3)])
    assert refusal_of(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_ORDER")
    assert push(stub, produced, 2).duplicates == 1


def test_the_watermark_names_what_is_durable_and_the_last_epoch(collector, stub):
    produced = Produced()
    publish(stub, produced, epoch=7)
    request = collector_pb2.GetWatermarkRequest(
        run_id=produced.run_id, producer_id=produced.producer_id, schema_fingerprint=produced.schema.fingerprint
    )
    welcome = stub.GetWatermark(request, timeout=10)
    assert (welcome.durable_seq, welcome.session_epoch, welcome.need_schema) == (100, 7, False)
    assert welcome.durability == collector_pb2.DURABILITY_FILE
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetWatermark(collector_pb2.GetWatermarkRequest(run_id="../x", producer_id=b"p" * 16), timeout=10)
    assert refusal_of(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "IDENTITY")


def test_a_refusal_that_waiting_mends_carries_the_standard_retry_info(start_collector):
    from google.rpc import error_details_pb2
    from grpc_status import rpc_status

    collector = start_collector(limits={"streams": 1})
    with open_stub(collector.port) as stub:
        first = Publication(stub).send(Produced().hello())
        first.receive("welcome")
        with pytest.raises(grpc.RpcError) as caught:
            push(stub, Produced())
        assert refusal_of(caught.value) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STREAMS")
        retry = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(caught.value).details[0].Unpack(retry)
        assert retry.retry_delay.ToMilliseconds() > 0
        first.cancel()


TOKENS = """
[tenant.vision]
run_prefix = "2026"
[[token]]
tenant = "vision"
token = "{token}"
[[token]]
tenant = "vision"
token = "expired"
expires = 2026-01-01T00:00:00Z
[[token]]
tenant = "vision"
token = "reader"
may = ["read"]
[[token]]
tenant = "vision"
token = "writer"
may = ["write"]
"""


def first_refusal(call):
    """Call until it is refused; the test's own timeout ends a collector that never does."""
    try:
        while True:
            call()
    except grpc.RpcError as error:
        return refusal_of(error)


def bearer(token: str):
    return (("authorization", f"Bearer {token}"),)


def test_a_token_file_lets_in_whom_it_names_and_is_followed_without_a_restart(start_collector, tmp_path):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS.replace("{token}", "old"))
    collector = start_collector(tokens=str(tokens))
    produced, foreign = Produced(), Produced(run_id="other")
    unauthenticated = (grpc.StatusCode.UNAUTHENTICATED, "TOKEN")
    with open_stub(collector.port) as stub:
        for metadata in ((), bearer("wrong"), bearer("expired")):
            assert Publication(stub, metadata).send(produced.hello()).refusal() == unauthenticated
        refused = Publication(stub, bearer("old")).send(foreign.hello()).refusal()
        assert refused == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")
        publish(stub, produced, metadata=bearer("old"))
        tokens.write_text(TOKENS.replace("{token}", "new"))
        request = collector_pb2.GetWatermarkRequest(run_id=produced.run_id, producer_id=produced.producer_id)
        assert first_refusal(lambda: stub.GetWatermark(request, timeout=10, metadata=bearer("old"))) == unauthenticated
        publish(stub, produced, 2, metadata=bearer("new"))
    assert stored(collector.folder, produced) == produced.raw
    assert [path.name for path in collector.folder.glob("*") if path.is_dir()] == [produced.run_id]


WRONG_KINDS = [
    '[[token]]\ntenant = "vision"\ntoken = "two"\nmay = true\n',
    '[tenant.b]\nsan = [["x"]]\n',
    "[[token]]\ntenant = []\ntoken = 'two'\n",
]


@pytest.mark.parametrize("wrong", WRONG_KINDS)
def test_a_value_of_a_wrong_kind_leaves_the_old_tokens_in_force_until_the_file_is_right_again(
    start_collector, tmp_path, wrong
):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS.replace("{token}", "old"))
    collector = start_collector(tokens=str(tokens))
    everything = collector_pb2.ListRunsRequest()
    with open_stub(collector.port) as stub:
        tokens.write_text(TOKENS.replace("{token}", "old") + wrong)
        while "tokens.toml: " not in collector.log():
            stub.ListRuns(everything, timeout=10, metadata=bearer("old"))
        tokens.write_text(TOKENS.replace("{token}", "new"))
        first_refusal(lambda: stub.ListRuns(everything, timeout=10, metadata=bearer("old")))
        stub.ListRuns(everything, timeout=10, metadata=bearer("new"))


def test_a_token_that_is_taken_away_ends_what_was_opened_with_it(start_collector, tmp_path):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS.replace("{token}", "old"))
    collector = start_collector(tokens=str(tokens))
    produced, kept = Produced(), Produced()
    unauthenticated = (grpc.StatusCode.UNAUTHENTICATED, "TOKEN")
    with open_stub(collector.port) as stub:
        stream = Publication(stub, bearer("old")).send(produced.hello(), produced.schema, produced.batches[0])
        stream.acked(25)
        other = Publication(stub, bearer("writer")).send(kept.hello(), kept.schema, kept.batches[0])
        other.acked(25)
        reading = stub.Subscribe(
            collector_pb2.SubscribeRequest(run_id=produced.run_id), timeout=60, metadata=bearer("old")
        )
        next(reading)
        tokens.write_text(TOKENS.replace("{token}", "new"))
        assert stream.refusal() == unauthenticated
        assert first_refusal(lambda: next(reading)) == unauthenticated
        other.send(kept.batches[1])
        other.acked(50)
        assert publish(stub, produced, 2, metadata=bearer("new"))[0].welcome.durable_seq == 25


def test_a_token_that_expires_while_a_stream_is_open_ends_it_and_no_other(start_collector, tmp_path):
    tokens = tmp_path / "tokens.toml"
    expires = datetime.now(UTC) + timedelta(seconds=4)
    tokens.write_text(TOKENS.replace("2026-01-01T00:00:00Z", expires.isoformat()))
    collector = start_collector(tokens=str(tokens))
    produced, kept = Produced(), Produced()
    with open_stub(collector.port) as stub:
        other = Publication(stub, bearer("writer")).send(kept.hello(), kept.schema)
        stream = Publication(stub, bearer("expired")).send(produced.hello(), produced.schema, produced.batches[0])
        stream.acked(25)
        assert stream.refusal() == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN")
        assert datetime.now(UTC) >= expires
        other.send(kept.batches[0])
        other.acked(25)


def test_runs_that_a_tenant_may_not_use_any_more_are_closed_to_it(start_collector, tmp_path):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    collector = start_collector(tokens=str(tokens))
    produced = Produced()
    with open_stub(collector.port) as stub:
        stream = Publication(stub, bearer("writer")).send(produced.hello(), produced.schema)
        stream.receive("welcome")
        tokens.write_text(TOKENS.replace('run_prefix = "2026"', 'run_prefix = "other"'))
        assert stream.refusal() == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")


def test_a_token_to_read_cannot_write_and_one_to_write_cannot_read(start_collector, tmp_path):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    collector = start_collector(tokens=str(tokens))
    produced = Produced()
    forbidden = (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")
    everything = collector_pb2.ListRunsRequest()
    run = collector_pb2.SubscribeRequest(run_id=produced.run_id, stored_only=True)
    with open_stub(collector.port) as stub:
        publish(stub, produced, metadata=bearer("writer"))
        assert Publication(stub, bearer("reader")).send(produced.hello(2)).refusal() == forbidden
        assert first_refusal(lambda: stub.ListRuns(everything, timeout=10, metadata=bearer("writer"))) == forbidden
        assert first_refusal(lambda: list(stub.Subscribe(run, timeout=10, metadata=bearer("writer")))) == forbidden
        assert len(stub.ListRuns(everything, timeout=10, metadata=bearer("reader")).runs) == 1
        assert len(list(stub.Subscribe(run, timeout=10, metadata=bearer("reader")))) == 6


def test_a_client_certificate_names_its_tenant(start_collector, tmp_path):
    certificate, key = make_certificate(tmp_path, "server")
    mine, my_key = make_certificate(tmp_path, "client", san="DNS:trainer.example")
    other, other_key = make_certificate(tmp_path, "stranger", san="DNS:trainer.example")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('[tenant.vision]\nrun_prefix = "2026"\nsan = ["trainer.example"]\n')
    collector = start_collector(certificate=str(certificate), key=str(key), client_ca=str(mine), tokens=str(tokens))

    def credentials(*pair):
        return grpc.ssl_channel_credentials(certificate.read_bytes(), *(path.read_bytes() for path in pair))

    with open_stub(collector.port, credentials(my_key, mine)) as stub:
        publish(stub, Produced())
        foreign = Publication(stub).send(Produced(run_id="other").hello()).refusal()
        assert foreign == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")
    for pair in ((), (other_key, other)):
        with open_stub(collector.port, credentials(*pair)) as stub:
            assert Publication(stub).send(Produced().hello()).refusal()[0] == grpc.StatusCode.UNAVAILABLE


SHARED = """
[tenant.a]
max_streams = 1
[tenant.b]
max_streams = 1
[tenant.slow]
bytes_per_s = 1
[[token]]
tenant = "a"
token = "a"
[[token]]
tenant = "b"
token = "b"
[[token]]
tenant = "slow"
token = "slow"
"""


@pytest.fixture
def shared_by_tenants(start_collector, tmp_path):
    """A collector of three tenants, and a stub."""
    (tmp_path / "tokens.toml").write_text(SHARED)
    collector = start_collector(tokens=str(tmp_path / "tokens.toml"))
    with open_stub(collector.port) as stub:
        yield collector, stub


def test_a_stream_that_another_tenant_took_over_counts_for_that_one_only(shared_by_tenants):
    _, stub = shared_by_tenants
    produced = Produced()
    for epoch in range(1, 10, 2):
        first = Publication(stub, bearer("a")).send(produced.hello(epoch))
        first.receive("welcome")
        second = Publication(stub, bearer("b")).send(produced.hello(epoch + 1))
        second.receive("welcome")
        assert first.refusal() == (grpc.StatusCode.ABORTED, "FENCED")
        other = Publication(stub, bearer("a")).send(Produced().hello())
        other.receive("welcome")  # a's one place is free again
        assert Publication(stub, bearer("b")).send(Produced().hello()).refusal()[1] == "STREAMS"
        assert other.end().messages() is not None
        assert second.end().messages() is not None


def test_a_tenant_takes_over_its_own_stream_though_it_may_have_no_more(shared_by_tenants):
    _, stub = shared_by_tenants
    produced = Produced()
    first = Publication(stub, bearer("a")).send(produced.hello(1))
    first.receive("welcome")
    second = Publication(stub, bearer("a")).send(produced.hello(2))
    second.receive("welcome")
    assert first.refusal()[1] == "FENCED"
    second.end().messages()


@pytest.mark.parametrize("way", ["push", "publish"])
def test_a_rate_holds_over_calls_whichever_way_they_come(shared_by_tenants, way):
    collector, stub = shared_by_tenants

    def send(produced, seconds: int) -> None:
        messages = [client_message(each) for each in (produced.schema, *produced.batches[:1])]
        if way == "push":
            request = collector_pb2.PushBatchRequest(hello=produced.hello(), messages=messages)
            stub.PushBatch(request, timeout=seconds, metadata=bearer("slow"))
        else:
            said = [client_message(produced.hello()), *messages]
            list(stub.Publish(iter(said), timeout=seconds, metadata=bearer("slow")))

    produced = [Produced() for _ in range(3)]
    for each in produced:  # a byte a second: the first schema takes hours to pay for
        with pytest.raises(grpc.RpcError) as caught:
            send(each, 2)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert not [each for each in produced if stored(collector.folder, each)]
    publish(stub, Produced(), metadata=bearer("a"))  # and nobody else waits


def test_a_push_is_answered_with_what_the_disk_said(start_collector):
    collector = start_collector()
    produced = Produced(frames=6)
    pid = collector.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    with open_stub(collector.port) as stub:
        first = stub.PushBatch(push_of(produced, 1, produced.batches[:2]), timeout=30)
        assert first.durable_seq == 50
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        for epoch in range(2, 5):
            with pytest.raises(grpc.RpcError) as caught:
                stub.PushBatch(push_of(produced, epoch, produced.batches), timeout=30)
            assert refusal_of(caught.value) == (grpc.StatusCode.UNAVAILABLE, "STORAGE")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        while True:
            with contextlib.suppress(grpc.RpcError):
                known = stub.GetWatermark(
                    collector_pb2.GetWatermarkRequest(run_id=produced.run_id, producer_id=produced.producer_id)
                )
                request = push_of(produced, known.session_epoch + 1, produced.batches)
                assert stub.PushBatch(request, timeout=30).durable_seq == produced.last_seq
                break
    assert stored(collector.folder, produced) == produced.raw


def push_of(produced, epoch, batches) -> collector_pb2.PushBatchRequest:
    messages = [client_message(each) for each in (produced.schema, *batches)]
    return collector_pb2.PushBatchRequest(hello=produced.hello(epoch), messages=messages)


def test_markers_of_what_was_skipped_count_as_what_a_run_stores(start_collector, tmp_path):
    (tmp_path / "tokens.toml").write_text(SHARED.replace("[tenant.a]\n", "[tenant.a]\nmax_run_bytes = 100_000\n"))
    collector = start_collector(tokens=str(tmp_path / "tokens.toml"))
    produced = Produced(frames=1)
    with open_stub(collector.port) as stub:
        stream = Publication(stub, bearer("a")).send(produced.hello(), produced.schema)
        lost = collector_pb2.SKIP_REASON_SPOOL_LOST
        stream.send(*(collector_pb2.Skip(first_seq=n, last_seq=n, reason=lost) for n in range(1, 20_000)))
        assert stream.refusal() == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA")
    assert sum(path.stat().st_size for path in collector.folder.glob("*/*")) < 150_000


def test_a_push_that_waits_for_its_turn_ends_with_the_token_it_came_with(shared_by_tenants):
    collector, stub = shared_by_tenants
    first, waiting = Produced(), Produced()
    stub.PushBatch.future(push_of(first, 1, first.batches), timeout=60, metadata=bearer("slow"))
    call = stub.PushBatch.future(push_of(waiting, 1, waiting.batches), timeout=60, metadata=bearer("slow"))
    tokens = collector.folder.parent / "tokens.toml"
    tokens.write_text(SHARED.replace('token = "slow"', 'token = "another"'))
    assert refusal_of(call.exception()) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN")


def test_readers_of_a_tenant_share_its_rate_and_take_none_of_its_writers(start_collector, tmp_path):
    (tmp_path / "tokens.toml").write_text(SHARED)
    collector = start_collector(tokens=str(tmp_path / "tokens.toml"))
    produced = Produced()
    request = collector_pb2.SubscribeRequest(run_id=produced.run_id, stored_only=True)
    with open_stub(collector.port) as stub:
        publish(stub, produced, metadata=bearer("a"))
        assert len(list(stub.Subscribe(request, timeout=30, metadata=bearer("b")))) >= 5
        slow = stub.Subscribe(request, timeout=3, metadata=bearer("slow"))
        seen = []
        with pytest.raises(grpc.RpcError) as caught:
            seen.extend(slow)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert len(seen) <= 1
        hello = Publication(stub, bearer("slow")).send(Produced().hello())
        assert hello.receive("welcome")
