"""On a real device: PyTorch itself watches for waits, graphs are captured, copies are pinned."""

from __future__ import annotations

import time

import pytest
import torch

from esper_telemetry.counters import DeviceCounters, update_
from tests.esper_telemetry.counters.naive import by_head, count, counts_of, random_step, spec_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; this machine has none"),
]


def on_cuda(step):
    return tuple({h: t.cuda() for h, t in part.items()} if isinstance(part, dict) else part.cuda() for part in step)


@pytest.mark.parametrize("form", ["packed", "dict"])
@pytest.mark.parametrize("mode", ["deferred", "inline"])
def test_a_batch_and_its_flush_make_no_wait(form, mode):
    spec = spec_of(8, scalars=("reward",), histograms={"td": (0.0, 1.0)})
    packed = [random_step(spec, 16, seed) for seed in range(8)]
    steps = [on_cuda(step if form == "packed" else by_head(spec, step)) for step in packed]
    rewards = torch.ones(16, device="cuda")
    bank = DeviceCounters(spec, "cuda", mode=mode, strict=True)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in steps:
            bank.record_step(*step)
            bank.record_scalar("reward", rewards + 1)
            bank.record_scalar("td", rewards + 1)
        bank.flush(batch_idx=1)
        bank.poll()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    (found,) = bank.close()
    assert counts_of(found) == count(spec, packed)
    assert found.scalars["reward"].sum == 8 * 32.0


def test_a_captured_graph_counts_every_replay():
    spec = spec_of(8)
    packed = [random_step(spec, 16, seed) for seed in range(6)]
    bank = DeviceCounters(spec, "cuda", mode="inline")
    static = on_cuda(packed[0])
    warm = torch.cuda.Stream()
    with torch.cuda.stream(warm):
        update_(bank.state, *static)
    torch.cuda.current_stream().wait_stream(warm)
    bank.flush(batch_idx=0).result()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update_(bank.state, *static)
    for step in packed:
        for buffer, part in zip(static, step, strict=True):
            buffer.copy_(part)
        graph.replay()
    assert counts_of(bank.flush(batch_idx=1).result()) == count(spec, packed)


def test_deferred_recording_inside_a_capture_is_reported():
    spec = spec_of(2)
    bank = DeviceCounters(spec, "cuda")
    static = on_cuda(random_step(spec, 4, 0))
    bank.record_step(*static)
    bank.flush(batch_idx=0).result()
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        bank.record_step(*static)
    assert bank.misuse["capture"] == 1


def test_recording_on_a_second_stream_is_reported():
    spec = spec_of(2)
    bank = DeviceCounters(spec, "cuda")
    bank.record_step(*on_cuda(random_step(spec, 4, 0)))
    bank.flush(batch_idx=0).result()
    with torch.cuda.stream(torch.cuda.Stream()):
        bank.record_step(*on_cuda(random_step(spec, 4, 1)))
    assert bank.misuse["stream"] == 1


def test_a_flush_returns_while_the_device_is_still_busy():
    spec = spec_of(8)
    bank = DeviceCounters(spec, "cuda")
    bank.record_step(*on_cuda(random_step(spec, 16, 0)))
    bank.flush(batch_idx=0).result()
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)
    bank.record_step(*on_cuda(random_step(spec, 16, 1)))
    pending = bank.flush(batch_idx=1)
    assert not pending.done()
    assert bank.poll() == []
    assert pending.result().steps == 1


def test_the_host_side_of_a_copy_is_pinned():
    bank = DeviceCounters(spec_of(8), "cuda")
    assert all(slot.host.is_pinned() for slot in bank._reader._slots)


def test_close_gives_up_at_its_deadline():
    spec = spec_of(1)
    bank = DeviceCounters(spec, "cuda")
    bank.record_step(*on_cuda(random_step(spec, 2, 0)))
    torch.cuda._sleep(20_000_000_000)
    start = time.monotonic()
    assert bank.close(timeout=0.1) == []
    assert time.monotonic() - start < 5
    torch.cuda.synchronize()


def test_a_tensor_of_another_device_is_refused():
    from esper_telemetry.errors import CounterError

    spec = spec_of(1)
    with pytest.raises(CounterError, match="it is on cpu, the bank on cuda:0"):
        DeviceCounters(spec, "cuda").record_step(*random_step(spec, 2, 0))
