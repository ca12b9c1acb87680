"""The verb as people run it: a gateway, a consumer, a record that is pushed; wrong options are told at once."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.esper_telemetry.collector.chaos import Trial
from tests.esper_telemetry.jetstream.deployment import Deployment
from tests.esper_telemetry.jetstream.natscluster import NatsCluster, free_ports, wait_until


@pytest.fixture
def server(tmp_path):
    one = NatsCluster(tmp_path / "nats", 1)
    yield one
    one.stop()


def test_a_record_that_is_pushed_to_a_gateway_is_in_the_consumers_folder(tmp_path, server, cli):
    record = Trial._write_record(tmp_path / "record.esr.zst", 50)
    deployment = Deployment(tmp_path, server.url, 1)
    (port,) = free_ports(1)
    try:
        consumer = deployment.add_consumer("--metrics", f"127.0.0.1:{port}")
        gateway = deployment.add_gateway()
        address = f"127.0.0.1:{deployment.ports[0]}"
        assert cli("health", address).out == "SERVING\n"
        pushed = cli("push", record, address)
        assert pushed.code == 0, pushed.err
        assert "sent 0 frames" in cli("push", record, address).err, "the gateway knows what consumers have"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert answer.read() == b"SERVING\n"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b"esper_consumer_durable_numbers_total 400.0" in answer.read()
        refused = cli("tail", address)
        assert refused.code == 1
        assert "esper-telemetry consume --dir DIR" in refused.err
        server.stop()
        wait_until(lambda: cli("health", address).out != "SERVING\n", "the gateway to miss its log")
        server.start(0)
        wait_until(lambda: cli("health", address).out == "SERVING\n", "the gateway to have its log again")
        assert gateway.terminate() == 0
        assert consumer.terminate() == 0
    finally:
        deployment.stop()
    (folder,) = (path for path in deployment.folders[0].iterdir() if path.is_dir())
    assert cli("verify", folder).code == 0
    assert cli("cat", folder).out == cli("cat", record).out
    assert json.loads(cli("info", "--json", folder).out)


def test_a_consumer_that_cannot_run_says_why_in_one_line(tmp_path, server, cli):
    assert cli("consume", "--dir", tmp_path).code == 2
    refused = cli("consume", "--engine", "kafka://127.0.0.1:9092", "--dir", tmp_path / "d")
    assert refused.code == 1
    assert "'kafka://127.0.0.1:9092' is no engine, e.g. nats://127.0.0.1:4222" in refused.err.splitlines()[-1]
    refused = cli("consume", "--engine", server.url, "--log-name", "a b", "--dir", tmp_path / "d")
    assert "--log-name 'a b': only letters, digits, - and _" in refused.err
    refused = cli("consume", "--engine", server.url, "--log-replicas", 0, "--dir", tmp_path / "d")
    assert "--log-replicas 0 must be above 0" in refused.err
    refused = cli("consume", "--engine", server.url, "--log-replicas", 3, "--dir", tmp_path / "d")
    assert refused.code == 1
    assert "with 3 servers?" in refused.err.splitlines()[-1]


def test_a_gateway_has_no_folder_and_a_folder_no_log(tmp_path, cli):
    both = cli("collect", "--engine", "nats://127.0.0.1:4222", "--dir", tmp_path)
    assert both.code == 2
    assert "either --dir, or --engine" in both.err
    kept = cli("collect", "--engine", "nats://127.0.0.1:4222", "--retain-days", 3)
    assert kept.code == 1
    assert "retention goes with --dir" in kept.err


def test_the_former_name_of_the_verb_works_and_names_the_new_one(tmp_path, cli):
    options = ("--engine", "nats://127.0.0.1:4222", "--log-name", "a b", "--dir", tmp_path / "d")
    former, renamed = cli("record", *options), cli("consume", *options)
    assert (former.code, former.out) == (renamed.code, renamed.out)
    assert former.err == "esper-telemetry record is now called esper-telemetry consume\n" + renamed.err
    listed = [line.split()[0] for line in cli("--help").out.partition("Verbs:")[2].splitlines() if line.strip()]
    assert "consume" in listed
    assert "record" not in listed
