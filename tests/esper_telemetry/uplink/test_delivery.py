"""One producer's delivery: what is skipped is reported, what is damaged is said, a refusal ends it."""

import asyncio

from esper_telemetry.recordfile import RecordReader, SkipReason
from esper_telemetry.uplink.delivery import Delivery, PushOptions
from esper_telemetry.uplink.endpoint import Endpoint
from tests.esper_telemetry.collectorprocess import CollectorProcess


def deliver(spool, address, **how):
    said = []
    delivery = Delivery(spool, Endpoint(address, **how), PushOptions(give_up_s=20.0), said.append)
    return asyncio.run(asyncio.wait_for(delivery.run(), 60)), said


def test_a_report_says_what_was_sent(collector, producer):
    producer.write(frames=7).close()
    report, said = deliver(producer.spool(), collector.address)
    assert (report.error, report.durable_seq, report.frames) == ("", 70, 7)
    assert report.skipped == {}
    assert said[-1].endswith("complete; durable up to 70")


def test_a_damaged_frame_is_skipped_and_reported_and_the_rest_arrives(collector, producer, kit):
    producer.write(frames=5, noise=40).close()
    whole = kit.frames(producer.sink.paths)
    with RecordReader(producer.sink.path) as reader:
        second = list(reader.frames())[1]
    data = bytearray(producer.sink.path.read_bytes())
    data[second.offset : second.offset + 40] = bytes(40)
    producer.sink.path.write_bytes(data)
    report, _ = deliver(producer.spool(), collector.address)
    assert report.error == ""
    assert report.skipped == {(11, 20): SkipReason.CORRUPT}
    assert len(report.damages) == 1
    assert collector.frames(producer.folder.name) == [whole[0], *whole[2:]]


def test_a_token_that_is_missing_for_a_moment_is_read_again(collector, producer, tmp_path):
    producer.write().close()
    path = tmp_path / "token"

    def write_token(text):
        assert "cannot be read" in text or path.exists()
        path.write_text("secret")

    endpoint = Endpoint(collector.address, token_file=str(path))
    delivery = Delivery(producer.spool(), endpoint, PushOptions(follow=True), write_token)
    report = asyncio.run(asyncio.wait_for(delivery.run(), 60))
    assert report.error == ""
    assert report.durable_seq == 10


def test_a_frame_that_rotted_unseen_is_found_by_the_collector_and_given_up_alone(tmp_path, producer, kit):
    producer.write(frames=40, noise=40).close()
    whole = kit.frames(producer.sink.paths)
    with RecordReader(producer.sink.path) as reader:
        rotten = list(reader.frames())[25]
    data = bytearray(producer.sink.path.read_bytes())
    data[rotten.offset + rotten.compressed_size - 2] ^= 1  # in its checksum: everything else is as it was
    producer.sink.path.write_bytes(data)
    collector = CollectorProcess(tmp_path / "collected", "--validate", "full").start()
    try:
        report, _ = deliver(producer.spool(), collector.address)
        assert report.error == ""
        assert report.skipped == {(251, 260): SkipReason.CORRUPT}
        assert collector.frames(producer.folder.name) == [*whole[:25], *whole[26:]]
    finally:
        collector.kill()
