"""What counting actions and masks costs the training loop, beside the usual ways of doing it.

    python tools/bench/counters.py [--quick]

Eight heads of 41 options in all. Every contender sees the same steps in each round and
rounds alternate; quoted are medians of ratios with their quartiles. Five parts:
host time a step, what keeping a record as it was costs by the memory it is in, what counting adds
to a loop that makes its tensors, an eager policy loop end to end, and step detail written to a file.
Times are processor time (of all threads in the last part), so that what else runs on the
machine counts as little as it can; on a CPU there is nothing to wait for.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import figures
import torch
from paired import Timings
from peers import HEADS, Bincount, Items, PackedScatter, torchmetrics_peers

import esper_telemetry as et
from esper.v1 import trainer_pb2
from esper_telemetry.counters import CounterSpec, DeviceCounters, StepRow, emit_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

SPEC = CounterSpec(HEADS)
OPTIONS = SPEC.option_count
WINDOWS = 64
# Windows that are recorded and not timed, first: memory is then there, and every form was seen.
WARM = 4
Step = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def random_steps(spec: CounterSpec, envs: int, steps: int) -> list[Step]:
    """Return steps whose actions are valid: [B, H], [B, S], [B]."""
    rng = torch.Generator().manual_seed(envs)
    found = []
    for _ in range(steps):
        masks = torch.rand(envs, spec.option_count, generator=rng) < 0.7  # noqa: PLR2004 - seven options in ten are valid
        masks[:, list(spec.option_offsets.values())] = True
        blocks = masks.split([len(options) for options in spec.heads.values()], 1)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        actions = torch.stack([torch.multinomial(block.float(), 1, generator=rng)[:, 0] for block in blocks], 1)
        found.append((actions, masks, torch.rand(envs, generator=rng) < 0.8))  # noqa: PLR2004 - eight in ten succeed
    return found


def by_head(step: Step) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor]:
    """Return a packed step as dicts."""
    actions, masks, success = step
    blocks = masks.split([len(options) for options in SPEC.heads.values()], 1)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return (
        {head: actions[:, i].contiguous() for i, head in enumerate(SPEC.heads)},
        {head: block.contiguous() for head, block in zip(SPEC.heads, blocks, strict=True)},
        success,
    )


class Ours:
    """Seconds of recording alone, and of recording with its fold and readback."""

    def __init__(self, steps: list[Any]) -> None:
        self._steps = steps
        self._bank = DeviceCounters(SPEC)
        for _ in range(WARM):
            self.window()

    def window(self) -> tuple[float, float]:
        """Count one window; return seconds of recording, and of all."""
        record = self._bank.record_step
        start = time.thread_time()
        for actions, masks, success in self._steps:
            record(actions, masks, success)
        recorded = time.thread_time()
        self._bank.flush(batch_idx=1)
        self._bank.poll()
        return recorded - start, time.thread_time() - start

    def round(self) -> tuple[float, float]:
        """Return mean seconds a step of a round of windows."""
        recorded, everything = zip(*(self.window() for _ in range(WINDOWS)), strict=True)
        return sum(recorded) / WINDOWS / len(self._steps), sum(everything) / WINDOWS / len(self._steps)


def seconds_a_step(count: Callable[[Step], None], steps: list[Step]) -> float:
    """Return mean seconds of one call."""
    start = time.thread_time()
    for step in steps:
        count(step)
    return (time.thread_time() - start) / len(steps)


def host_time(envs: int, rounds: int) -> None:
    """Print host time a step of every contender for so many environments."""
    steps = random_steps(SPEC, envs, 32 if envs <= 256 else 8)  # noqa: PLR2004 - keeps a round under a second
    packed, dicts = Ours(steps), Ours([by_head(step) for step in steps])
    few = steps[: 4 if envs <= 16 else 1]  # noqa: PLR2004 - naive reading takes seconds at more
    peers: dict[str, Callable[[], float]] = {
        "packed scatter": partial(seconds_a_step, PackedScatter().update, steps),
        "bincount per head": partial(seconds_a_step, Bincount().update, steps),
        ".item() per environment": partial(seconds_a_step, Items().update, few),
    }
    peers |= {name: partial(seconds_a_step, update, steps) for name, update in torchmetrics_peers().items()}
    names = ("ours, packed", "ours, packed, with fold", "ours, dict", "ours, dict, with fold")
    seconds: dict[str, list[float]] = {name: [] for name in (*names, *peers)}
    for number in range(rounds + 1):
        ours = (*packed.round(), *dicts.round())
        others = [run() for run in (peers.values() if number % 2 else reversed(peers.values()))]
        others = others if number % 2 else others[::-1]
        if number:  # the first round warms up
            for name, value in zip(seconds, (*ours, *others), strict=True):
                seconds[name].append(value)
    print(f"\nhost time a step, {envs} environments (ratios to recording packed tensors)")
    print(Timings(seconds).table(base="ours, packed", per=1, unit="step"))
    fold = Timings(seconds)
    for name in peers:
        ratio = fold.ratio(name, "ours, packed, with fold")
        print(f"    {name} / ours with fold: {ratio}")
        figures.report(
            f"host time of {name} a step, {envs} environments",
            ratio,
            of="our counters, fold included",
            headline=envs == 16 and name == "bincount per head",  # noqa: PLR2004 - a usual number of environments
        )


def keeping(envs: int, rounds: int) -> None:
    """Print the price of a record by whose memory it is in, beside nothing at all and beside one copy of its parts."""
    steps = random_steps(SPEC, envs, WINDOWS)
    rollout = [torch.stack(column) for column in zip(*steps, strict=True)]
    targets = [torch.empty_like(part) for part in steps[0]]
    banks = {name: DeviceCounters(SPEC) for name in ("fresh", "rows")} | {
        "unwatched": DeviceCounters(SPEC, guard="off")
    }
    seconds: dict[str, list[float]] = {}
    for number in range(rounds + WARM):
        fresh = [(actions.clone(), masks.clone(), success.clone()) for actions, masks, success in steps]
        rows = list(zip(*(column.unbind(0) for column in rollout), strict=True))
        round_: dict[str, Callable[[], float]] = {
            "fresh tensors": partial(seconds_a_step, lambda step: banks["fresh"].record_step(*step), fresh),
            "fresh tensors, guard='off'": partial(
                seconds_a_step, lambda step: banks["unwatched"].record_step(*step), fresh
            ),
            "rows of a rollout buffer": partial(seconds_a_step, lambda step: banks["rows"].record_step(*step), rows),
            "one _foreach_copy_ of the same parts": partial(
                seconds_a_step, lambda step: torch._foreach_copy_(targets, list(step)), rows
            ),
        }
        for name in round_ if number % 2 else reversed(list(round_)):
            value = round_[name]()
            if number >= WARM:
                seconds.setdefault(name, []).append(value)
        for bank in banks.values():
            bank.flush(batch_idx=1)
            bank.poll()
    print(f"\nkeeping a record of 3 tensors, {envs} environments (ratios to one copy of them)")
    copied = "one _foreach_copy_ of the same parts"
    print(Timings(seconds).table(base=copied, per=1, unit="record"))
    ratio = Timings(seconds).ratio("rows of a rollout buffer", copied)
    figures.report(f"keeping a record of 3 tensors, {envs} environments", ratio, of=copied, goal=1.5)


def copies_of(step: Any) -> Any:
    """Return a step in tensors of its own."""
    if isinstance(step, dict):
        return {head: one.clone() for head, one in step.items()}
    return tuple(map(copies_of, step)) if isinstance(step, tuple) else step.clone()


def added(envs: int, number: int, rounds: int) -> None:
    """Print what counting adds to a loop that makes the tensors of each step, record, fold and readback included."""
    packed = random_steps(SPEC, envs, number)
    for form, steps in (("packed", packed), ("dict", [by_head(step) for step in packed])):
        bank = DeviceCounters(SPEC)
        extra = []
        for round_ in range(rounds + WARM):
            seconds = {}
            for counting in (False, True) if round_ % 2 else (True, False):
                start = time.thread_time()
                for step in steps:
                    fresh = copies_of(step)
                    if counting:
                        bank.record_step(*fresh)
                if counting:
                    bank.flush(batch_idx=round_)
                    bank.poll()
                seconds[counting] = time.thread_time() - start
            if round_ >= WARM:
                extra.append((seconds[True] - seconds[False]) / number * 1e6)
        low, middle, high = statistics.quantiles(extra, n=4, method="inclusive")
        print(f"  {envs:>5} environments x {number:>4} steps, {form:<6} {middle:>7.1f} us/step [{low:.1f}-{high:.1f}]")


class Policy(torch.nn.Module):
    """A small policy: 64 features, two hidden layers of 256, eight masked heads."""

    def __init__(self) -> None:
        super().__init__()
        layers = [torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers, torch.nn.Linear(256, OPTIONS))
        self.sizes = [len(options) for options in SPEC.heads.values()]

    def forward(self, features: torch.Tensor, masks: torch.Tensor) -> list[torch.Tensor]:
        """Return an action [B] of each head."""
        logits = self.net(features).masked_fill(~masks, -1e9)
        return [torch.distributions.Categorical(logits=block).sample() for block in logits.split(self.sizes, 1)]  # type: ignore[no-untyped-call]  # torch leaves it untyped


@torch.no_grad()
def rollout(policy: Policy, envs: int, steps: int, bank: DeviceCounters | None, *, dicts: bool) -> float:
    """Return seconds of a rollout, its flush and its events included."""
    start = time.thread_time()
    for _ in range(steps):
        features = torch.randn(envs, 64)
        masks = torch.rand(envs, OPTIONS) < 0.9  # noqa: PLR2004 - nine options in ten are valid
        masks[:, list(SPEC.option_offsets.values())] = True
        chosen = policy(features, masks)
        success = torch.rand(envs) < 0.8  # noqa: PLR2004 - eight in ten succeed
        if dicts:
            actions: Any = dict(zip(SPEC.heads, chosen, strict=True))
            valid: Any = dict(zip(SPEC.heads, masks.split(policy.sizes, 1), strict=True))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        else:
            actions, valid = torch.stack(chosen, 1), masks
        if bank is not None:
            bank.record_step(actions, valid, success)
    if bank is not None:
        bank.flush(batch_idx=1)
        for snapshot in bank.poll():
            for event_class, fields in snapshot.events():
                event_class(**fields).SerializeToString()
    return time.thread_time() - start


def end_to_end(envs: int, rounds: int) -> None:
    """Print how much longer an eager policy loop takes with counting."""
    policy = Policy()
    steps = 64 if envs <= 256 else 8  # noqa: PLR2004 - keeps a round under a second
    for form in (False, True):
        bank = DeviceCounters(SPEC)
        seconds: dict[str, list[float]] = {"no counting": [], "counting": []}
        for number in range(rounds + WARM):
            order = (None, bank) if number % 2 else (bank, None)
            times = {one is not None: rollout(policy, envs, steps, one, dicts=form) for one in order}
            if number >= WARM:
                seconds["no counting"].append(times[False])
                seconds["counting"].append(times[True])
        name = "dict" if form else "packed"
        timings = Timings(seconds)
        each = timings.median("no counting") / steps * 1e6
        ratio = timings.ratio("counting", "no counting")
        print(f"  {envs:>5} environments, {name:<6} {each:>9,.0f} us/step   {ratio}")
        figures.report(f"eager policy loop that counts, {envs} environments, {name}", ratio, of="the same without")


def step_detail(envs: int, steps: int, rounds: int) -> None:
    """Print rows a second and bytes a row of step detail, from the tensors to the closed file, on one core."""
    heads = {
        "op": ("WAIT", "GERMINATE", "CULL", "FOSSILIZE"),
        "slot": ("early", "mid", "late"),
        "blueprint": ("NOOP", "CONV_LIGHT", "ATTENTION", "NORM", "DEPTHWISE"),
        "blend": ("LINEAR", "SIGMOID", "GATED"),
    }
    row = StepRow(
        trainer_pb2.ActionTaken,
        actions={"op": "op", "slot": "slot_id", "blueprint": "blueprint_id", "blend": "blend_id"},
        masked={head: f"{head}_masked" for head in heads},
        forced={head: f"{head}_forced" for head in heads},
        success="action_success",
    )
    spec = CounterSpec(heads, row=row)
    tensors = random_steps(spec, envs, steps)
    bank = DeviceCounters(spec, steps=True, detail_bytes=32 << 20)
    rates, sizes = [], []
    for _ in range(rounds + WARM):
        with tempfile.TemporaryDirectory() as folder:
            run = et.start_run(folder, name="detail", schemas=[trainer_pb2])
            before = _bytes_in(folder)
            start = time.process_time()
            for number, (actions, masks, success) in enumerate(tensors):
                bank.record_step(actions, masks, success, inner_epoch=number)
            bank.flush(batch_idx=1)
            for snapshot in bank.poll():
                emit_snapshot(run, snapshot, episodes_completed=0)
            run.flush()
            rates.append(envs * steps / (time.process_time() - start))
            sizes.append((_bytes_in(folder) - before) / (envs * steps))
            run.close()
    rates = sorted(rates[WARM:])
    low, middle, high = (rates[len(rates) * quarter // 4] for quarter in (1, 2, 3))
    print(
        f"  {envs:>5} environments x {steps:>4} steps: {middle / 1e6:>6.1f} million rows/s"
        f" [{low / 1e6:.1f}-{high / 1e6:.1f}], {sorted(sizes)[len(sizes) // 2]:.2f} bytes/row"
    )


def _bytes_in(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def main() -> None:
    """Print all five parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, small batches")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    rounds = 5 if quick else 15
    print(f"torch {torch.__version__}, one thread, 8 heads, {OPTIONS} options, {rounds} rounds")
    sizes = (1, 16) if quick else (1, 16, 256, 4096)
    for envs in sizes:
        host_time(envs, rounds)
    for envs in sizes[1:]:
        keeping(envs, rounds)
    print("\nwhat counting adds to a loop that makes its tensors")
    for envs, number in ((16, 64), (16, 512)) if quick else ((16, 64), (16, 512), (256, 128), (1024, 64)):
        added(envs, number, rounds)
    print("\nan eager policy loop with counting / without, fold and readback included")
    for envs in sizes:
        end_to_end(envs, 3 * rounds if envs <= 16 else rounds)  # noqa: PLR2004 - short rounds are noisy
    print("\nstep detail of 4 heads with masks and success, tensors to flushed file, a second of one core")
    for envs, steps in ((16, 2048), (64, 1024), (256, 512), (1024, 128)):
        step_detail(envs, steps, rounds)


if __name__ == "__main__":
    main()
