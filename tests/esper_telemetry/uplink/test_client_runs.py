"""The runs at a collector, as a client asks for them."""

import pytest

from esper_telemetry.errors import RecordError
from esper_telemetry.uplink.client import delete_run, list_runs
from esper_telemetry.uplink.endpoint import Endpoint
from tests.esper_telemetry.collector.conftest import CollectorProcess
from tests.esper_telemetry.collector.publisher import Produced, Publication, open_stub, publish


@pytest.fixture
def collector(tmp_path):
    collector = CollectorProcess(tmp_path / "store", tmp_path / "log", limits={"page_bytes": 300})
    yield collector
    assert collector.terminate() == 0


def test_all_pages_are_asked_for_and_what_is_deleted_is_on_none(collector):
    endpoint = Endpoint(f"127.0.0.1:{collector.port}")
    with open_stub(collector.port) as stub:
        for number in range(12):
            publish(stub, Produced(frames=1, run_id=f"run-{number:02}"))
    assert [run.run_id for run in list_runs(endpoint)] == [f"run-{number:02}" for number in range(12)]
    assert [run.run_id for run in list_runs(endpoint, "run-1")] == ["run-10", "run-11"]
    assert delete_run(endpoint, "run-05") > 0
    assert "run-05" not in [run.run_id for run in list_runs(endpoint)]


def test_a_refusal_is_said_with_its_reason(collector):
    endpoint = Endpoint(f"127.0.0.1:{collector.port}")
    with pytest.raises(RecordError, match="not found: there is no run 'none'"):
        delete_run(endpoint, "none")
    produced = Produced()
    with open_stub(collector.port) as stub:
        stream = Publication(stub).send(produced.hello(), produced.schema, *produced.batches)
        stream.acked(100)
        with pytest.raises(RecordError, match=r"failed precondition: .* is being written or read"):
            delete_run(endpoint, produced.run_id)
        stream.end().messages()
    assert delete_run(endpoint, produced.run_id)


def test_nobody_there_is_said():
    with pytest.raises(RecordError, match="the collector answers unavailable"):
        list(list_runs(Endpoint("127.0.0.1:1")))
