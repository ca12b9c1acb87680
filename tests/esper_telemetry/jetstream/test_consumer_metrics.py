from esper_telemetry.jetstream.consumer_metrics import ConsumerMetrics
from esper_telemetry.storage.engine import Cycle, ProducerProgress
from esper_telemetry.storage.naming import ProducerKey


def test_a_cycle_is_counted_and_shown():
    metrics = ConsumerMetrics()
    key = ProducerKey("run", b"p" * 16)
    metrics.cycle(
        Cycle([ProducerProgress(key, 7, 100), ProducerProgress(key, 9, 20, error="the disk is full")], [0.002], [])
    )
    text, content_type = metrics.render("")
    assert b"esper_consumer_durable_bytes_total 120.0" in text
    assert b"esper_consumer_sync_seconds_count 1.0" in text
    assert content_type.startswith("text/plain")
