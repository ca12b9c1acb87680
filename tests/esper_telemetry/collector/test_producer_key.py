import pytest

from esper_telemetry.collector.producers import Producer, check_run_id, producer_key
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.storage.naming import ProducerKey
from esper_telemetry.storage.producer_files import ProducerFiles
from tests.esper_telemetry.storage.test_naming import HOSTILE


def test_a_new_producer_has_nothing_and_nobody(tmp_path):
    producer = Producer(ProducerFiles(tmp_path, ProducerKey("run", b"p" * 16)))
    assert producer.key == ("run", b"p" * 16)
    assert producer.listener is None
    assert producer.numbers.durable_seq == 0
    assert len({producer, Producer(producer.lane)}) == 2, "two are never the same"


@pytest.mark.parametrize("run_id", HOSTILE)
def test_a_run_id_that_could_leave_its_folder_is_refused(run_id):
    with pytest.raises(Refused) as caught:
        check_run_id(run_id)
    assert caught.value.reason == "IDENTITY"


@pytest.mark.parametrize("producer_id", [b"", b"x", b"x" * 15, b"x" * 17, bytes(16)])
def test_a_producer_id_has_sixteen_bytes_that_are_not_all_zero(producer_id):
    with pytest.raises(Refused, match="producer_id"):
        producer_key("run", producer_id)
