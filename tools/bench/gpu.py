"""What only a CUDA device can show: no wait in a whole batch, graphs, and what counting costs host and device.

    python tools/bench/gpu.py [--check] [--rounds N] [--notes FOLDER]

Four parts, and ratios from one run: a PPO-like batch under `set_sync_debug_mode("error")` with counts equal to
those of the host; a captured graph that counts its replays inline, with a deferred bank beside it on the graph's
static outputs; host time a step and device time a flush beside the usual ways; a consumer that takes nothing, and
a bank that may hold next to nothing. With --notes the output is also written to a file there, with the device's
name and the versions. Exit status: 0 all right, 1 a count or a wait is wrong, 2 there is no CUDA device.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from paired import Timings
from peers import HEADS, Bincount, Items, PackedScatter, torchmetrics_peers

from esper_telemetry.counters import CounterSpec, DeviceCounters, HostCounters, merge_snapshots, update_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esper_telemetry.counters import Snapshot

SPEC = CounterSpec(HEADS, scalars=("reward",))
Step = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
ENVS, STEPS = 64, 128
NO_DEVICE = 2


def random_steps(number: int, *, seed: int = 0) -> list[Step]:
    """Return steps on the host: actions [B, H], masks [B, S], success [B]."""
    rng = torch.Generator().manual_seed(seed)
    sizes = [len(options) for options in SPEC.heads.values()]
    return [
        (
            torch.stack([torch.randint(size, (ENVS,), generator=rng) for size in sizes], 1),
            torch.rand(ENVS, SPEC.option_count, generator=rng) < 0.7,  # noqa: PLR2004 - seven options in ten are valid
            torch.rand(ENVS, generator=rng) < 0.8,  # noqa: PLR2004 - eight in ten succeed
        )
        for _ in range(number)
    ]


def on_device(steps: list[Step]) -> list[Step]:
    """Return fresh copies on the device."""
    return [(actions.cuda(), masks.cuda(), success.cuda()) for actions, masks, success in steps]


def oracle(steps: list[Step]) -> Snapshot:
    """Return the counts of the host's own bank."""
    bank = HostCounters(SPEC)
    for actions, masks, success in steps:
        bank.record_step(actions.numpy(), masks.numpy(), success.numpy())
    return bank.close()[0]


def alike(one: Snapshot, other: Snapshot) -> bool:
    """Tell whether two snapshots counted the same decisions."""
    names = ("rows", "action_count", "success_count", "valid_count", "restricted", "forced", "empty")
    return all(getattr(one, name) == getattr(other, name) for name in names)


@contextlib.contextmanager
def no_wait() -> Iterator[None]:
    """Let PyTorch raise at whatever makes the host wait."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def a_batch_without_wait() -> bool:
    """Sample, record and flush a batch of a small policy without one wait; compare its counts."""
    policy = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, SPEC.option_count))
    policy.cuda()
    sizes = [len(options) for options in SPEC.heads.values()]
    bank = DeviceCounters(SPEC, "cuda", strict=True)
    kept: list[Step] = []
    with torch.no_grad(), no_wait():
        for _ in range(STEPS):
            masks = torch.rand(ENVS, SPEC.option_count, device="cuda") < 0.9  # noqa: PLR2004 - nine in ten are valid
            logits = policy(torch.randn(ENVS, 64, device="cuda")).masked_fill(~masks, -1e8)
            noise = torch.empty_like(logits).exponential_().log()
            chosen = [part.argmax(1) for part in (logits - noise).split_with_sizes(sizes, 1)]
            step = (torch.stack(chosen, 1), masks, torch.rand(ENVS, device="cuda") < 0.8)  # noqa: PLR2004 - eight in ten
            bank.record_step(*step, scalars={"reward": torch.ones(ENVS, device="cuda")})
            kept.append(step)
        bank.flush(batch_idx=1)
        bank.poll()
    (found,) = bank.close()
    return alike(found, oracle([(actions.cpu(), masks.cpu(), success.cpu()) for actions, masks, success in kept]))


def a_captured_graph() -> bool:
    """Count the replays of a graph inside it, and its static outputs by a deferred bank beside it."""
    steps = random_steps(STEPS)
    device = on_device(steps)
    static = (device[0][0].clone(), device[0][1].clone(), device[0][2].clone())
    inside, beside = DeviceCounters(SPEC, "cuda", mode="inline"), DeviceCounters(SPEC, "cuda")
    warm = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's gap
    with torch.cuda.stream(warm):
        update_(inside.state, *static)
    torch.cuda.current_stream().wait_stream(warm)
    inside.flush(batch_idx=0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update_(inside.state, *static)
        outputs = (static[0].clone(), static[1].clone(), static[2].clone())
    for step in device:
        for buffer, part in zip(static, step, strict=True):
            buffer.copy_(part)
        graph.replay()
        beside.record_step(*outputs)
    inside.flush(batch_idx=1)
    beside.flush(batch_idx=1)
    replayed, recorded = inside.close()[-1], beside.close()[-1]
    expected = oracle(steps)
    reported = recorded.left_out + recorded.doubtful
    print(f"  deferred bank on static outputs: {recorded.rows['op']} rows, {reported} reported as left out or doubtful")
    return alike(replayed, expected) and (alike(recorded, expected) or reported > 0)


def host_seconds(count: Callable[[Step], Any], steps: list[Step]) -> float:
    """Return host seconds a step, the device left alone."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for step in steps:
        count(step)
    seconds = time.perf_counter() - start
    torch.cuda.synchronize()
    return seconds / len(steps)


def costs(rounds: int) -> None:
    """Print host time a step of all ways, and device time of a flush of ours."""
    steps, few = on_device(random_steps(STEPS)), on_device(random_steps(2))
    rows = [torch.stack([step[part] for step in steps]) for part in range(3)]
    fresh, lent = DeviceCounters(SPEC, "cuda"), DeviceCounters(SPEC, "cuda")
    targets = [torch.empty_like(part) for part in steps[0]]
    ours: dict[str, Callable[[], float]] = {
        "ours, fresh tensors": lambda: host_seconds(lambda step: fresh.record_step(*step), steps),
        "ours, rows of a buffer (copied)": lambda: host_seconds(
            lambda step: lent.record_step(*step), list(zip(*(block.unbind(0) for block in rows), strict=True))
        ),
        "one _foreach_copy_ of the same parts": lambda: host_seconds(
            lambda step: torch._foreach_copy_(targets, list(step)), steps
        ),
    }
    peers = {"packed scatter": PackedScatter().update, "bincount per head": Bincount().update}
    peers |= torchmetrics_peers()
    ours |= {name: lambda update=update: host_seconds(update, steps) for name, update in peers.items()}  # type: ignore[misc]  # mypy wants no default
    ours[".item() per environment"] = lambda: host_seconds(Items().update, few)
    seconds: dict[str, list[float]] = {name: [] for name in ours}
    flushes = []
    for number in range(rounds + 1):
        for name in ours if number % 2 else reversed(list(ours)):
            value = ours[name]()
            if number:
                seconds[name].append(value)
        flushes.append(device_milliseconds(fresh))
        device_milliseconds(lent)
    print(Timings(seconds).table(base="ours, fresh tensors", per=1, unit="step"))
    print(f"  a flush of {STEPS} steps on the device: {statistics.median(flushes[1:]):.3f} ms")


def device_milliseconds(bank: DeviceCounters) -> float:
    """Return the device time of a flush."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]  # torch's gap
    start.record()
    bank.flush(batch_idx=1)
    end.record()
    torch.cuda.synchronize()
    bank.poll()
    return float(start.elapsed_time(end))


def pressure() -> bool:
    """Let a consumer take nothing for many batches, and a bank hold next to nothing; nothing may be lost."""
    steps = random_steps(STEPS)
    expected = oracle(steps * 8)
    right = True
    for options in ({"slots": 1}, {"max_pending_bytes": 64 * 1024}):
        bank = DeviceCounters(SPEC, "cuda", **options)  # type: ignore[arg-type]  # one option at a time
        for batch in range(8):
            for step in on_device(steps):
                bank.record_step(*step)
            bank.flush(batch_idx=batch)
        right = right and alike(merge_snapshots(bank.close()), expected)
    return right


def proofs(rounds: int) -> bool:
    """Print all parts; tell whether every count was right."""
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}"
    print(f"{name} (compute capability {capability[0]}.{capability[1]}), {versions}")
    right = True
    for what, proof in (
        ("a whole batch under set_sync_debug_mode('error')", a_batch_without_wait),
        ("graph capture and replay", a_captured_graph),
        ("slow consumer and memory pressure", pressure),
    ):
        good = proof()
        right = right and good
        print(f"{what}: {'right' if good else 'WRONG'}")
    costs(rounds)
    return right


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only report whether there is a device")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--notes", type=Path, help="folder for a file with the results")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print(
            "gpu: this machine has no CUDA device that PyTorch can use; run it where `torch.cuda.is_available()`."
            " Until then the proofs are the simulated device and the allow-list of operations, in the counters' tests.",
            file=sys.stderr,
        )
        return NO_DEVICE
    if given.check:
        return 0
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        right = proofs(given.rounds)
    print(out.getvalue(), end="")
    if given.notes is not None:
        given.notes.mkdir(parents=True, exist_ok=True)
        (given.notes / f"gpu-{time.strftime('%Y-%m-%d')}.txt").write_text(out.getvalue(), encoding="utf-8")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
