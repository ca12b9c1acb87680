import pytest

from esper_telemetry.collector.admission import Quotas, check_hello
from esper_telemetry.collector.auth import Tenant
from esper_telemetry.collector.limits import Limits
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.v1 import collector_pb2


def refusal(action, *arguments) -> Refused:
    with pytest.raises(Refused) as caught:
        action(*arguments)
    return caught.value


@pytest.mark.parametrize(("low", "high"), [(1, 1), (0, 5)])
def test_a_hello_whose_protocols_include_ours_passes(low, high):
    check_hello(collector_pb2.Hello(min_protocol=low, max_protocol=high), Limits())


@pytest.mark.parametrize(("low", "high"), [(0, 0), (2, 3), (5, 1)])
def test_a_hello_without_a_common_protocol_is_refused(low, high):
    hello = collector_pb2.Hello(min_protocol=low, max_protocol=high)
    assert refusal(check_hello, hello, Limits()).reason == "PROTOCOL"


def test_a_client_must_send_the_one_codec_there_is():
    hello = collector_pb2.Hello(min_protocol=1, max_protocol=1, codecs=[7])
    assert refusal(check_hello, hello, Limits()).reason == "PROTOCOL"


def test_a_hello_full_of_labels_is_too_big():
    hello = collector_pb2.Hello(min_protocol=1, max_protocol=1, labels={"a": "x" * 70_000})
    assert refusal(check_hello, hello, Limits()).reason == "TOO_BIG"


def test_streams_are_counted_together_and_by_tenant():
    quotas = Quotas(Limits(streams=3))
    small, large = Tenant("small", max_streams=1), Tenant("large")
    quotas.check_stream("run", small)
    quotas.streams["small"] = 1
    assert refusal(quotas.check_stream, "run", small).reason == "STREAMS"
    quotas.check_stream("run", large)
    quotas.streams["large"] = 2
    full = refusal(quotas.check_stream, "run", large)
    assert full.reason == "STREAMS"
    assert full.retry_after_ms


def test_a_run_over_its_bytes_takes_no_more():
    quotas = Quotas(Limits())
    tenant = Tenant("t", max_run_bytes=1000)
    quotas.run_bytes["run"] = 999
    quotas.check_stream("run", tenant)
    quotas.run_bytes["run"] = 1000
    assert refusal(quotas.check_bytes, "run", tenant).retry_after_ms
    quotas.check_bytes("other", tenant)
    quotas.check_bytes("run", Tenant("unlimited"))


def test_the_streams_of_a_tenant_share_one_rate():
    quotas = Quotas(Limits())
    tenant = Tenant("t", bytes_per_s=10)
    assert quotas.rate(tenant).take(10, 0) == 0
    assert quotas.rate(tenant).take(10, 0) == 1
    assert quotas.rate(Tenant("other", bytes_per_s=10)).take(10, 0) == 0
