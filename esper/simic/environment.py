"""An environment: one host that grows through one episode, with its optimisers and its governor.

Both loops drive it: `begin_epoch`, train steps, `validate`, `measure` → one copy to the CPU → `read`, then the
policy's operation and `end_epoch`. Losses, hits, gradient norms and the state for the governor accumulate on
the device and leave it in that one packed copy; nothing else here waits for the device.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from esper.kasmina.host import GrowingHost
from esper.kasmina.slot import MEASURES, SeedSlot
from esper.simic.counterfactual import Counterfactual, counterfactuals, slots_to_measure, validate
from esper.tolaria.governor import TolariaGovernor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esper.tasks import Split, Task

LEARNING_RATE = 0.01
MOMENTUM = 0.9


@dataclass(frozen=True)
class EpochResult:
    """What an epoch measured; accuracies in points, None if not measured."""

    train_loss: float | None
    train_accuracy: float | None
    grad_norm: float | None
    val_loss: float | None
    val_accuracy: float | None
    test_accuracy: float | None
    counterfactuals: list[Counterfactual]


@dataclass
class Timing:
    """Wall time of the training steps since the start of the episode."""

    steps: int = 0
    samples: int = 0
    step_seconds: float = 0.0
    wait_seconds: float = 0.0


@dataclass
class Fates:
    """What became of the seeds of an episode."""

    germinated: int = 0
    fossilized: int = 0
    culled: int = 0
    rollbacks: int = 0

    @property
    def live(self) -> int:
        """Seeds whose fate is still open."""
        return self.germinated - self.fossilized - self.culled


@dataclass
class _Epoch:
    """The epoch under way: its numbers and what was accumulated on the device."""

    number: int
    terminal: bool
    samples: int = 0
    steps: int = 0
    measured_slots: list[str] = field(default_factory=list)


class Environment:
    """One host through one episode.

    Args:
        task: Data and presets, on the device to train on.
        seed: Seed of the run; with the episode it fixes initialisation, order of data and young seeds.
        episode: Number of the episode over all environments, from 0.
        env_id: Number of the environment.
        device: Where it trains, in PyTorch's form.
        counterfactual: One of `counterfactual.MODES`. Gate G5 needs a measurement in its own epoch.

    Attributes:
        model: The host.
        governor: Its governor; the first snapshot is taken here.
        timing: Wall time of the steps.
        fates: Seeds by fate.
        epochs_since_cull: Epochs since a seed was discarded; None before the first.
    """

    def __init__(
        self,
        task: Task,
        *,
        seed: int,
        episode: int,
        env_id: int = 0,
        device: str = "cpu",
        counterfactual: str = "every",
    ) -> None:
        self.task = task
        self.episode = episode
        self.env_id = env_id
        self.device = device
        self.counterfactual = counterfactual
        host_seed, order_seed, self._plant_seed = _derive_seeds(seed, episode)
        self._order = torch.Generator().manual_seed(order_seed)
        self.model = GrowingHost(task.in_channels, task.classes, channels=task.host_channels, seed=host_seed)
        self.governor = TolariaGovernor(self.model, classes=task.classes)
        self.governor.snapshot()  # before the move: nothing has to be copied back
        self.model.place_on(device)
        self.timing = Timing()
        self.fates = Fates()
        self.epochs_since_cull: int | None = None
        self.global_epoch = 0
        self._accuracy: float | None = None
        self._host_params = self.model.host_params()
        self._optimizer = self._new_optimizer(self.model.host_parameters())
        self._seed_optimizers: dict[str, torch.optim.Optimizer] = {}
        self._epoch = _Epoch(0, terminal=False)
        self._train_sums = torch.zeros(3, device=device)
        self._val_sums = torch.zeros(2, device=device)
        self._test_sums = torch.zeros(2, device=device)
        self._state: Tensor | None = None

    @property
    def slots(self) -> dict[str, SeedSlot]:
        """Slots by id, in the order of the forward pass."""
        return dict(self.model.seed_slots)

    @property
    def inner_epoch(self) -> int:
        """Epoch of the episode under way, from 1."""
        return self._epoch.number

    @property
    def context(self) -> dict[str, int | str]:
        """Where the trainer is: context of the events of this epoch."""
        return {
            "env_id": self.env_id,
            "device": self.device,
            "episode": self.episode,
            "inner_epoch": self.inner_epoch,
            "global_epoch": self.global_epoch,
        }

    # An epoch, in order.

    def begin_epoch(self, inner_epoch: int, global_epoch: int, *, terminal: bool) -> None:
        """Start an epoch: hand the counters to the slots and forget what the last one accumulated."""
        self._epoch = _Epoch(inner_epoch, terminal)
        self.global_epoch = global_epoch
        self._train_sums.zero_()
        self.model.train()
        for slot in self.slots.values():
            slot.begin_epoch(inner_epoch, global_epoch)
        if self.epochs_since_cull is not None:
            self.epochs_since_cull += 1

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over one pass of the training data, timing how long each batch is waited for."""
        source = self.task.train.batches(self.task.batch_size, self._order)
        while True:
            started = time.perf_counter()
            batch = next(source, None)
            self.timing.wait_seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """Take one optimiser step of host and seeds; nothing is read back."""
        started = time.perf_counter()
        self._optimizer.zero_grad()
        for optimizer in self._seed_optimizers.values():
            optimizer.zero_grad()
        logits = self.model(images)
        loss = nn.functional.cross_entropy(logits, labels)
        torch.autograd.backward(loss)
        self._tally(loss.detach(), logits.detach(), labels)
        self._optimizer.step()
        for optimizer in self._seed_optimizers.values():
            optimizer.step()
        self.timing.steps += 1
        self.timing.samples += len(labels)
        self.timing.step_seconds += time.perf_counter() - started

    def validate(self) -> None:
        """Validate, also without each seed whose counterfactual is due; in the terminal epoch test, too."""
        due = slots_to_measure(self.slots, self.counterfactual, terminal=self._epoch.terminal)
        self._epoch.measured_slots = due
        self._val_sums = validate(self.model, self._whole(self.task.val), [self.slots[name] for name in due])
        if self._epoch.terminal:
            self._test_sums = validate(self.model, self._whole(self.task.test))

    def measure(self) -> Tensor:
        """Pack everything this epoch measured, and the state for the governor, into one (N,) tensor."""
        slots = [slot.measure() for slot in self.slots.values()]
        sums = (self._train_sums, self._val_sums, self._test_sums, *slots)
        return torch.cat((*sums, self.governor.pack_state()))

    def read(self, packed: Tensor) -> EpochResult:
        """Take `measure()`, copied to the CPU, and hand it to the slots.

        Accuracies are exact quotients of counts; a sum over no sample gives None.
        """
        sizes = [3, len(self._val_sums), 2, MEASURES * len(self.slots)]
        head, self._state = packed[: sum(sizes)], packed[sum(sizes) :]
        train, val, test, seeds = (part.tolist() for part in torch.split(head, sizes))
        epoch, val_count = self._epoch, len(self.task.val)
        self._accuracy = accuracy = _percent(val[1], val_count)
        baselines = {
            name: 100.0 * hits / val_count
            for name, hits in zip(epoch.measured_slots, val[2:], strict=True)
            if val_count
        }
        records = counterfactuals(self.slots, self.counterfactual, real_accuracy=accuracy, baselines=baselines)
        for number, (slot, record) in enumerate(zip(self.slots.values(), records, strict=True)):
            measured = seeds[MEASURES * number : MEASURES * (number + 1)]
            slot.record_epoch(measured, accuracy=accuracy, contribution=record.contribution)
        return EpochResult(
            train_loss=_mean(train[0], epoch.samples),
            train_accuracy=_percent(train[1], epoch.samples),
            grad_norm=_mean(train[2], epoch.steps),
            val_loss=_mean(val[0], val_count),
            val_accuracy=accuracy,
            test_accuracy=_percent(test[1], len(self.task.test)) if epoch.terminal else None,
            counterfactuals=records,
        )

    def must_roll_back(self, result: EpochResult) -> bool:
        """Ask the governor about the epoch's validation loss."""
        if result.val_loss is None:
            return False
        return self.governor.check_vital_signs(result.val_loss, env_id=self.env_id, context=self.context)

    def roll_back(self) -> float:
        """Restore the last good state and drop the live seeds; the penalty for the reward."""
        live = sum(slot.is_live for slot in self.slots.values())
        penalty = self.governor.execute_rollback(env_id=self.env_id, context=self.context)
        for optimizer in (self._optimizer, *self._seed_optimizers.values()):
            optimizer.state.clear()
        self._state = None
        self.fates.rollbacks += 1
        self.fates.culled += live
        if live:
            self.epochs_since_cull = 0
        return penalty

    def germinate(self, slot_id: str, blueprint_id: str, blend_id: str) -> bool:
        """Plant a seed; False if the slot is not empty."""
        slot = self.slots[slot_id]
        number = self.fates.germinated + 1
        planted = slot.germinate(
            blueprint_id,
            blend_id=blend_id,
            seed_id=f"ep{self.episode}-seed{number}",
            random_seed=self._plant_seed + number,
            accuracy=self._accuracy,
        )
        if planted:
            self.fates.germinated = number
            parameters = slot.seed_parameters()
            if parameters:
                self._seed_optimizers[slot_id] = self._new_optimizer(parameters)
        return planted

    def cull(self, slot_id: str, reason: str = "policy") -> bool:
        """Discard the live seed of a slot; False if there is none."""
        culled = self.slots[slot_id].cull(reason)
        if culled:
            self.fates.culled += 1
            self.epochs_since_cull = 0
        return culled

    def fossilize(self, slot_id: str) -> bool:
        """Keep the seed of a slot for good; False if it is not on probation or gate G5 refuses it."""
        kept = self.slots[slot_id].fossilize()
        self.fates.fossilized += kept
        return kept

    def end_epoch(self) -> None:
        """Let the slots move on, and remember a state whose loss was good."""
        for slot_id, slot in self.slots.items():
            slot.advance()
            if slot.seed is None:
                self._seed_optimizers.pop(slot_id, None)
            if self._epoch.terminal:
                slot.end_episode()
        if self._state is not None and self.governor.consecutive_panics == 0:
            self.governor.adopt(self._state)

    # Inside.

    def _tally(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add the step to the sums on the device: loss, hits, norm of the host's gradients."""
        gradients = [p.grad for p in self.model.host_parameters() if p.grad is not None]
        norm = torch.linalg.vector_norm(nn.utils.parameters_to_vector(gradients))
        for slot in self.slots.values():
            slot.observe_gradients(norm, self._host_params)
        hits = (logits.argmax(dim=1) == labels).sum()
        self._train_sums += torch.stack((loss * len(labels), hits, norm))
        self._epoch.samples += len(labels)
        self._epoch.steps += 1

    def _whole(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        return split.batches(self.task.eval_batch_size)

    def _new_optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=MOMENTUM)


def _derive_seeds(seed: int, episode: int) -> list[int]:
    """Three seeds for an episode: of the host, of the order of its data, of its young seeds."""
    mixed = hashlib.blake2b(f"{seed}/{episode}".encode(), digest_size=12).digest()
    return [int.from_bytes(mixed[start : start + 4], "big") for start in (0, 4, 8)]


def _percent(hits: float, count: int) -> float | None:
    return 100.0 * hits / count if count else None


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None
