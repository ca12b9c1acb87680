"""Counterfactuals: the validation accuracy a host would have with one seed's alpha at 0.

The difference is how much the host has come to depend on the seed, not the benefit of having grown it. What
could not be measured states why; nothing here reads a value back from the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from esper.kasmina.lifecycle import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from esper.kasmina.slot import SeedSlot

MODES = ("every", "final", "off")
"""Measure in every epoch, in the terminal epoch only, or never."""


@dataclass(frozen=True)
class Counterfactual:
    """The seed of one slot: accuracies in points, or the reason why there are none."""

    slot_id: str
    seed_id: str | None = None
    reason: str | None = None
    real_accuracy: float | None = None
    baseline_accuracy: float | None = None

    @property
    def contribution(self) -> float | None:
        """Accuracy with the seed less that without; None if not measured."""
        if self.real_accuracy is None or self.baseline_accuracy is None:
            return None
        return self.real_accuracy - self.baseline_accuracy


def slots_to_measure(slots: Mapping[str, SeedSlot], mode: str, *, terminal: bool) -> list[str]:
    """Ids of the slots whose seed is blended in and can be taken away, if this epoch measures at all."""
    if mode == "off" or (mode == "final" and not terminal):
        return []
    return [slot_id for slot_id, slot in slots.items() if slot.is_live and slot.alpha > 0.0]


def validate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], without: Sequence[SeedSlot] = ()) -> Tensor:
    """Validate once as it is and once without each of some seeds.

    Args:
        model: The host.
        batches: Images and labels on its device.
        without: Slots whose alpha is forced to 0, one after the other.

    Returns:
        (2 + len(without),) on the device: sum of losses, hits, and hits without each seed.
    """
    sums: list[Tensor] = []
    model.eval()
    with torch.no_grad():
        for images, labels in batches:
            logits = model(images)
            loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
            row = [loss, _hits(logits, labels)]
            for slot in without:
                with slot.force_alpha(0.0):
                    row.append(_hits(model(images), labels))
            sums.append(torch.stack(row))
    if not sums:
        return torch.zeros(2 + len(without), device=next(model.parameters()).device)
    return torch.stack(sums).sum(dim=0)


def counterfactuals(
    slots: Mapping[str, SeedSlot],
    mode: str,
    *,
    real_accuracy: float | None,
    baselines: Mapping[str, float],
) -> list[Counterfactual]:
    """Give every slot its record: measured, or unavailable with a reason.

    Args:
        slots: All slots of the host.
        mode: One of `MODES`.
        real_accuracy: Validation accuracy with every seed; None if there were no validation data.
        baselines: Validation accuracy without the seed, by slot, where it was measured.
    """
    records = []
    for slot_id, slot in slots.items():
        seed_id = slot.state.seed_id if slot.state is not None and slot.seed is not None else None
        reason = _why_unavailable(slot, mode, real_accuracy, measured=slot_id in baselines)
        if reason is None:
            records.append(Counterfactual(slot_id, seed_id, None, real_accuracy, baselines[slot_id]))
        else:
            records.append(Counterfactual(slot_id, seed_id, reason))
    return records


def _why_unavailable(slot: SeedSlot, mode: str, real_accuracy: float | None, *, measured: bool) -> str | None:
    if mode == "off":
        return "disabled"
    if slot.seed is None:
        return "no_seed"
    if slot.stage == Stage.FOSSILIZED:
        return "fossilized"
    if slot.alpha == 0.0:
        return "alpha_zero"
    if real_accuracy is None:
        return "empty_eval"
    return None if measured else "missing_baseline"


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == labels).sum().to(torch.float32)
