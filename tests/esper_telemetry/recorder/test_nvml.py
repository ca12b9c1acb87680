"""Devices through NVML: a double of the library on machines without, the driver's own where there is one."""

from __future__ import annotations

import pytest
import torch

from esper_telemetry.recorder.nvml import Nvml
from esper_telemetry.v1.process_pb2 import AcceleratorSample


def test_each_device_says_what_it_can(nvml_double):
    nvml = Nvml(library=nvml_double)
    first, second = nvml.samples()
    assert first == {
        "index": 0, "uuid": "GPU-0-aaaa", "memory_used_bytes": 1 << 30, "memory_total_bytes": 80 << 30,
        "utilization_percent": 97, "temperature_celsius": 40, "power_w": 345.6,
    }  # fmt: skip
    assert second == {
        "index": 1, "uuid": "GPU-1-aaaa", "memory_used_bytes": 2 << 30, "memory_total_bytes": 80 << 30,
        "temperature_celsius": 41,
    }  # fmt: skip
    assert AcceleratorSample(**first).power_w == 345.6
    nvml.close()


@pytest.mark.parametrize(
    ("visible", "shown"),
    [(None, [0, 1]), ("1", [1]), ("0, 1", [0, 1]), ("GPU-1", [1]), ("GPU-7", []), ("", []), ("-1", []), ("7", [])],
)
def test_devices_that_cuda_does_not_see_are_left_out(nvml_double, visible, shown):
    assert [one["index"] for one in Nvml(visible, nvml_double).samples()] == shown


def test_without_a_library_or_a_driver_there_is_an_error(nvml_double, monkeypatch):
    with pytest.raises(OSError, match="no-such-library"):
        Nvml(library="no-such-library.so")
    monkeypatch.setenv("NVML_DOUBLE_FAILS", "1")
    with pytest.raises(OSError, match="does not answer"):
        Nvml(library=nvml_double)


def test_a_library_that_knows_less_leaves_values_out():
    with pytest.raises(OSError, match="does not answer"):
        Nvml(library="libc.so.6")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_driver_sees_the_memory_that_torch_took():
    block = torch.ones(1 << 28, device="cuda")  # 1 GiB
    nvml = Nvml()
    used = max(one["memory_used_bytes"] for one in nvml.samples())
    assert used >= block.numel() * 4
    nvml.close()
