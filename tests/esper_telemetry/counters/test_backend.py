"""The CPU needs no waiting; CUDA waits only where it is asked to, and until a deadline."""

from __future__ import annotations

import time

import pytest
import torch

from esper_telemetry.counters.readback import CpuBackend, CudaBackend, backend_of
from esper_telemetry.errors import CounterError


def test_on_the_cpu_everything_has_arrived():
    backend = backend_of(torch.device("cpu"))
    assert isinstance(backend, CpuBackend)
    arrival = backend.arrival()
    arrival.record()
    arrival.synchronize()
    assert arrival.query()
    assert backend.wait(arrival, 0.0)
    assert not backend.capturing()
    assert backend.stream() == backend.stream()
    buffer = backend.host_buffer(24)
    assert (buffer.dtype, buffer.shape, buffer.device.type) == (torch.uint8, (24,), "cpu")


def test_a_device_without_a_backend_is_refused():
    with pytest.raises(CounterError, match="device 'meta': banks run on cpu and cuda; pass backend="):
        backend_of(torch.device("meta"))


def test_waiting_for_cuda_ends_at_the_deadline():
    class Late:
        def __init__(self, looks):
            self.looks = looks

        def query(self):
            self.looks -= 1
            return self.looks < 0

    backend = CudaBackend(torch.device("cuda", 0))
    assert backend.wait(Late(3), timeout=60.0)
    start = time.monotonic()
    assert not backend.wait(Late(10**9), timeout=0.05)
    assert time.monotonic() - start >= 0.05
