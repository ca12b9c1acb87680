"""Real trainers, their real agents, and a real collector that is up, dead, frozen, late or killed."""

import os
import re
import signal
import time

import pytest

from esper_telemetry.errors import ConfigError, NotARecordError
from esper_telemetry.recordfile import RecordReader, list_run
from esper_telemetry.uplink.delivery import PushOptions
from esper_telemetry.uplink.endpoint import Endpoint
from esper_telemetry.uplink.sender import LOG_NAME, follow, push
from tests.esper_telemetry.uplink.trainers import Trainer, end_trainer, send


@pytest.fixture
def train(tmp_path):
    started = []

    def start(address, root=tmp_path / "runs", **how) -> Trainer:
        started.append(Trainer(root, address, **how))
        return started[-1]

    yield start
    for trainer in started:
        end_trainer(trainer)


def assert_same(kit, collector, trainer, rank=0):
    """The collector has what the folder has, byte for byte, and nothing twice."""
    local = kit.frames(path for path in list_run(trainer.folder) if f"-r{rank}-" in path.name)
    assert collector.frames(trainer.run_id, rank) == local
    return local


def stored_events(paths):
    found = []
    for path in paths:
        with RecordReader(path) as reader:
            found += [event.seq for event in reader.events()]
    return found


def test_what_a_trainer_records_is_at_the_collector_byte_for_byte(collector, train, kit):
    trainer = train(collector.address, steps=5000)
    offered = trainer.finish()
    kit.wait_until(lambda: "complete" in trainer.log)
    assert_same(kit, collector, trainer)
    assert stored_events(collector.segments(trainer.run_id)) == list(range(1, offered + 1))


def test_a_collector_that_appears_later_gets_everything(collector, train, kit):
    collector.kill()
    trainer = train(collector.address)
    trainer.finish()
    kit.wait_until(lambda: "UNAVAILABLE" in trainer.log)
    collector.start()
    kit.wait_until(lambda: "complete" in trainer.log)
    assert_same(kit, collector, trainer)


def test_training_ends_though_the_collector_is_frozen_and_nothing_is_lost(collector, train, kit):
    trainer = train(collector.address, steps=500, pause=0.002)
    kit.wait_until(lambda: collector.segments(trainer.run_id))
    collector.signal(signal.SIGSTOP)
    trainer.finish()
    assert "complete" not in trainer.log
    collector.signal(signal.SIGCONT)
    kit.wait_until(lambda: "complete" in trainer.log)
    assert_same(kit, collector, trainer)


def test_a_killed_trainer_is_sent_to_its_last_whole_frame(collector, train, kit):
    trainer = train(collector.address, steps=10**6, pause=0.001)
    kit.wait_until(lambda: len(collector.segments(trainer.run_id)) and len(collector.frames(trainer.run_id)) > 3)
    trainer.process.kill()
    trainer.process.wait()
    kit.wait_until(lambda: "complete" in trainer.log)
    assert len(assert_same(kit, collector, trainer)) > 3


def test_what_a_killed_agent_left_is_pushed_later_and_nothing_twice(collector, train, kit):
    trainer = train(collector.address, steps=1500, pause=0.001)
    kit.wait_until(lambda: len(collector.segments(trainer.run_id)) and len(collector.frames(trainer.run_id)) > 3)
    os.kill(trainer.agent, signal.SIGKILL)
    trainer.finish()
    before = collector.frames(trainer.run_id)
    (first,), (second,) = send(trainer.folder, collector.address), send(trainer.folder, collector.address)
    local = assert_same(kit, collector, trainer)
    assert 0 < len(before) < len(local)
    assert first.error == second.error == ""
    assert first.frames == len(local) - len(before)
    assert second.frames == 0


def test_a_collector_that_is_killed_again_and_again_has_everything_once(collector, train, kit):
    trainer = train(collector.address, steps=3000, pause=0.001)
    for _ in range(4):
        time.sleep(0.4)
        collector.kill()
        collector.start()
    trainer.finish()
    kit.wait_until(lambda: "complete" in trainer.log)
    local = assert_same(kit, collector, trainer)
    assert len(local) > 10


def test_a_collector_that_is_replaced_in_good_order_is_found_again(collector, train, kit):
    trainer = train(collector.address, steps=2000, pause=0.001)
    kit.wait_until(lambda: "connected" in trainer.log)
    collector.stop()
    collector.start()
    trainer.finish()
    kit.wait_until(lambda: "complete" in trainer.log)
    assert_same(kit, collector, trainer)


def test_every_rank_in_a_folder_is_sent_by_one_agent(collector, train, kit, tmp_path, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_RUN_ID", "ranks")
    trainers = [train(collector.address, steps=400, pause=0.002, rank=rank) for rank in range(3)]
    for trainer in trainers:
        trainer.finish()
    done = re.compile(r"rank (\d) \(\w+\): complete")
    kit.wait_until(lambda: set(done.findall(trainers[0].log)) == {"0", "1", "2"})
    for rank in range(3):
        assert_same(kit, collector, trainers[0], rank)


def test_files_that_are_durable_at_the_collector_are_removed_if_that_was_asked_for(collector, train, kit):
    trainer = train(collector.address, steps=1000, pause=0.001, keep="no", segment=6_000)
    offered = trainer.finish()
    kit.wait_until(lambda: "complete" in trainer.log)
    assert [path.name for path in trainer.folder.iterdir()] == [LOG_NAME]
    assert stored_events(collector.segments(trainer.run_id)) == list(range(1, offered + 1))
    assert trainer.log.count("removed") > 1


def test_a_run_without_a_folder_leaves_none_behind(collector, train, kit, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    trainer = train(collector.address, root="none", steps=500)
    assert trainer.folder.is_relative_to(tmp_path)
    offered = trainer.finish()
    kit.wait_until(lambda: not trainer.folder.exists())
    assert stored_events(collector.segments(trainer.run_id)) == list(range(1, offered + 1))


def test_a_run_without_a_folder_keeps_it_while_the_collector_is_away(collector, train, kit, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    collector.kill()
    trainer = train(collector.address, root="none", steps=500)
    offered = trainer.finish()
    kit.wait_until(lambda: "UNAVAILABLE" in trainer.log)
    assert stored_events(list_run(trainer.folder)) == list(range(1, offered + 1))
    collector.start()
    kit.wait_until(lambda: not trainer.folder.exists())
    assert stored_events(collector.segments(trainer.run_id)) == list(range(1, offered + 1))


def test_a_push_leaves_a_folder_to_the_agent_that_follows_it(collector, train, kit):
    trainer = train(collector.address, steps=10**6, pause=0.001)
    kit.wait_until(lambda: "connected" in trainer.log)
    with pytest.raises(ConfigError, match="by an agent already"):
        send(trainer.folder, collector.address)
    assert follow(trainer.folder, Endpoint(collector.address), PushOptions(follow=True), print) is None


def test_an_agent_gives_up_on_a_collector_that_stays_away_and_keeps_the_files(producer):
    producer.write(frames=3).close()
    before = {path: path.read_bytes() for path in producer.sink.paths}
    options = PushOptions(follow=True, keep_local=False, give_up_s=0.5)
    (report,) = follow(producer.folder, Endpoint("127.0.0.1:9"), options, lambda text: None)
    assert "given up" in report.error
    assert "nothing is lost" in report.error
    assert {path: path.read_bytes() for path in producer.sink.paths} == before


def test_a_log_does_not_fill_while_the_collector_is_away(producer):
    producer.write().close()
    said = []
    options = PushOptions(follow=True, give_up_s=2.0)
    follow(producer.folder, Endpoint("127.0.0.1:9"), options, said.append)
    assert len(said) == 2


def test_a_path_that_holds_no_record_is_said(tmp_path):
    with pytest.raises(NotARecordError):
        send(tmp_path, "127.0.0.1:9")
    with pytest.raises(NotARecordError):
        send(tmp_path / "nowhere", "127.0.0.1:9")


def test_a_file_without_a_header_does_not_keep_the_others_back(collector, producer, kit):
    producer.write(frames=3).close()
    torn = producer.folder / producer.sink.path.name.replace("-r0-", "-r1-")
    torn.write_bytes(producer.sink.path.read_bytes()[:100])
    reports = send(producer.folder, collector.address)
    assert sorted(bool(report.damages) for report in reports) == [False, True]
    assert collector.frames(producer.folder.name) == kit.frames(producer.sink.paths)


def test_a_token_file_that_holds_none_is_said_before_anything_is_sent(producer, tmp_path):
    producer.write().close()
    path = tmp_path / "token"
    for content in (None, ""):
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigError, match=str(path)):
            push([producer.folder], Endpoint("127.0.0.1:9", token_file=str(path)), PushOptions(), print)
