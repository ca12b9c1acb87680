import asyncio

import pytest

from esper_telemetry.collector.auth import Tenant
from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.quotas import Quotas, check_hello
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.v1 import collector_pb2


def refusal(action, *arguments) -> Refused:
    with pytest.raises(Refused) as caught:
        action(*arguments)
    return caught.value


@pytest.mark.parametrize(("low", "high"), [(1, 1), (0, 5)])
def test_a_hello_whose_protocols_include_ours_passes(low, high):
    check_hello(collector_pb2.Hello(min_protocol=low, max_protocol=high), CollectorLimits())


@pytest.mark.parametrize(("low", "high"), [(0, 0), (2, 3), (5, 1)])
def test_a_hello_without_a_common_protocol_is_refused(low, high):
    hello = collector_pb2.Hello(min_protocol=low, max_protocol=high)
    assert refusal(check_hello, hello, CollectorLimits()).reason == "PROTOCOL"


def test_a_client_must_send_the_one_codec_there_is():
    hello = collector_pb2.Hello(min_protocol=1, max_protocol=1, codecs=[7])
    assert refusal(check_hello, hello, CollectorLimits()).reason == "PROTOCOL"


def test_a_hello_full_of_labels_is_too_big():
    hello = collector_pb2.Hello(min_protocol=1, max_protocol=1, labels={"a": "x" * 70_000})
    assert refusal(check_hello, hello, CollectorLimits()).reason == "TOO_BIG"


def test_streams_are_counted_together_and_by_tenant():
    quotas = Quotas(CollectorLimits(streams=3))
    small, large = Tenant("small", max_streams=1), Tenant("large")
    quotas.check_stream(small)
    quotas.streams["small"] = 1
    assert refusal(quotas.check_stream, small).reason == "STREAMS"
    quotas.check_stream(large)
    quotas.streams["large"] = 2
    full = refusal(quotas.check_stream, large)
    assert full.reason == "STREAMS"
    assert full.retry_after_ms


def test_readers_are_counted_together_and_by_tenant():
    quotas = Quotas(CollectorLimits(readers=3))
    small, large = Tenant("small", max_readers=1), Tenant("large")
    quotas.readers["small"] = 1
    assert refusal(quotas.check_reader, small).retry_after_ms
    quotas.check_reader(large)
    quotas.readers["large"] = 2
    assert refusal(quotas.check_reader, large).reason == "STREAMS"


def test_a_run_over_its_bytes_takes_no_more():
    quotas = Quotas(CollectorLimits())
    tenant = Tenant("t", max_run_bytes=1000)
    quotas.check_bytes("run", 999, tenant)
    assert refusal(quotas.check_bytes, "run", 1000, tenant).retry_after_ms
    quotas.check_bytes("run", 1000, Tenant("unlimited"))


def test_the_streams_of_a_tenant_share_one_rate():
    quotas = Quotas(CollectorLimits())
    tenant = Tenant("t", bytes_per_s=10)
    assert quotas.rate(tenant).take(10, 0) == 0
    assert quotas.rate(tenant).take(10, 0) == 1
    assert quotas.rate(Tenant("other", bytes_per_s=10)).take(10, 0) == 0


def test_a_rate_that_was_changed_in_the_token_file_holds_from_then_on():
    quotas = Quotas(CollectorLimits())
    quotas.rate(Tenant("t", bytes_per_s=10)).take(1000, 0)
    assert quotas.rate(Tenant("t", bytes_per_s=1_000_000)).debt(1) == 0
    assert quotas.rate(Tenant("t")).take(1 << 40, 1) == 0


def test_a_crowd_of_calls_gets_no_more_than_its_tenant_may_have(monkeypatch):
    quotas, tenant, taken, clock = Quotas(CollectorLimits()), Tenant("t", bytes_per_s=100), [], [0.0]
    pause = asyncio.sleep

    async def sleep(seconds: float) -> None:
        clock[0] += seconds
        await pause(0)

    async def call() -> None:
        await quotas.wait_turn(tenant, lambda: clock[0])
        quotas.rate(tenant).take(200, clock[0])
        taken.append(clock[0])

    async def crowd() -> None:
        await asyncio.gather(*(call() for _ in range(20)))

    monkeypatch.setattr("esper_telemetry.collector.quotas.asyncio.sleep", sleep)
    asyncio.run(crowd())
    assert taken == [0.0, *(pytest.approx(2 * number - 1) for number in range(1, 20))]
