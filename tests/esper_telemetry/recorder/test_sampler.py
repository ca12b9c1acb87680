"""The system sampler: off unless asked for, ended with the run, never in the way of CUDA."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import pytest

import esper_telemetry as et
from esper_telemetry.errors import ConfigError
from esper_telemetry.recorder import sampler
from esper_telemetry.recorder.sampler import SystemSampler, cuda_in_use
from esper_telemetry.testing import memory_run, recorded

THREAD = "esper-telemetry system sampler"


def sampler_threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def samples(folder):
    return [event.data for event in et.read(folder) if event.type == "system.sampled"]


def wait_for_a_sample(run):
    while not run.stats().recorded.get("system.sampled"):
        time.sleep(0.01)


def test_it_is_off_unless_asked_for(tmp_path):
    with et.start_run(tmp_path, name="quiet"):
        assert not sampler_threads()


def test_it_samples_until_the_run_ends(tmp_path):
    with et.start_run(tmp_path, name="sampled", record=et.RecordOptions(system_interval=0.01)) as run:
        assert sampler_threads()
        wait_for_a_sample(run)
    assert not sampler_threads()
    found = samples(run.folder)
    assert found
    assert all(data["cpu_percent"] >= 0.0 for data in found)
    assert run.stats().dropped == 0


@pytest.mark.parametrize("interval", [0, -1.0])
def test_an_interval_that_cannot_be_is_refused(interval):
    with pytest.raises(ConfigError, match="system_interval"):
        et.RecordOptions(system_interval=interval)


def test_processor_time_is_that_between_two_samples():
    system = SystemSampler(lambda _: None, 1.0)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert system.sample()["cpu_percent"] > 10.0
    time.sleep(0.2)
    assert system.sample()["cpu_percent"] < 50.0


def test_its_death_is_in_the_statistics_and_the_run_goes_on(monkeypatch):
    monkeypatch.setattr(sampler, "process_values", lambda: 1 // 0)
    run, sink = memory_run(record=et.RecordOptions(system_interval=0.001))
    while not run.stats().deaths:
        time.sleep(0.01)
    run.emit(et.events.ScalarLogged, name="x", value=1.0)
    run.close()
    assert "ZeroDivisionError" in run.stats().deaths["system sampler"]
    assert "scalar.logged" in [event.name for event in recorded(sink)]


def fake_torch(monkeypatch, *, initialized):
    """Put a torch into place whose CUDA may be asked one thing only."""

    class Cuda:
        @staticmethod
        def is_initialized():
            return initialized[0]

        def __getattr__(self, name):
            raise AssertionError(f"torch.cuda.{name} was asked for")

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=Cuda()))


def test_devices_are_sampled_once_cuda_is_in_use_and_not_before(monkeypatch, nvml_double):
    opened = []
    real = sampler.Nvml
    monkeypatch.setattr(sampler, "Nvml", lambda visible: opened.append(visible) or real(visible, nvml_double))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    initialized = [False]
    fake_torch(monkeypatch, initialized=initialized)
    system = SystemSampler(lambda _: None, 1.0)
    assert "accelerators" not in system.sample()
    assert not opened
    initialized[0] = True
    assert [one["index"] for one in system.sample()["accelerators"]] == [1]
    assert [one["index"] for one in system.sample()["accelerators"]] == [1]
    assert opened == ["1"]


def test_devices_reach_the_record(monkeypatch, nvml_double, tmp_path):
    real = sampler.Nvml
    monkeypatch.setattr(sampler, "Nvml", lambda visible: real(visible, nvml_double))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_torch(monkeypatch, initialized=[True])
    with et.start_run(tmp_path, name="devices", record=et.RecordOptions(system_interval=0.01)) as run:
        wait_for_a_sample(run)
    first, second = samples(run.folder)[0]["accelerators"]
    assert (first["utilization_percent"], first["power_w"]) == (97.0, 345.6)
    assert "utilization_percent" not in second


def test_without_nvml_the_rest_is_sampled(monkeypatch):
    monkeypatch.setattr(sampler, "Nvml", lambda _: (_ for _ in ()).throw(OSError("no driver")))
    fake_torch(monkeypatch, initialized=[True])
    assert "rss_bytes" in SystemSampler(lambda _: None, 1.0).sample()


@pytest.mark.parametrize("torch", [None, SimpleNamespace(), SimpleNamespace(cuda=None)])
def test_a_torch_that_is_not_there_or_half_imported_uses_no_cuda(monkeypatch, torch):
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert not cuda_in_use()


def test_sampling_imports_no_torch_and_initialises_no_cuda(tmp_path):
    program = textwrap.dedent("""
        import sys, time, esper_telemetry as et
        with et.start_run(sys.argv[1], name="s", record=et.RecordOptions(system_interval=0.01)) as run:
            while not run.stats().recorded.get("system.sampled"):
                time.sleep(0.01)
            print("torch" in sys.modules)
    """)
    command = [sys.executable, "-c", program, tmp_path]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_there_is_no_sampler_in_a_fork_child(tmp_path):
    with et.start_run(tmp_path, name="parent", record=et.RecordOptions(system_interval=0.01)) as run:
        wait_for_a_sample(run)
        child = os.fork()
        if not child:
            run.emit(et.events.ScalarLogged, name="child")
            time.sleep(0.2)  # twenty samples, if somebody took them
            run.close()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    of_child = [event.type for event in et.read(run.folder) if event.stream == "worker"]
    assert of_child == ["scalar.logged", "stream.finished"]
