from esper_telemetry.collector.identity import ProducerKey
from esper_telemetry.collector.producer import Producer
from esper_telemetry.collector.producerfiles import ProducerFiles
from esper_telemetry.collector.session import Ledger


def test_a_new_producer_has_nothing_and_nobody(tmp_path):
    producer = Producer(ProducerFiles(tmp_path, ProducerKey("run", b"p" * 16)), Ledger())
    assert producer.key == ("run", b"p" * 16)
    assert producer.listener is None
    assert producer.ledger.durable_seq == 0
    assert len({producer, Producer(producer.lane, producer.ledger)}) == 2, "two are never the same"
