"""What a policy can do: four heads, the masks over their options, and the meaning of a choice.

Masks are bool, True = allowed. The op mask looks over all slots, so an operation can still fail on the slot
that was chosen: the code that executes it reports that. Pure logic over the slots' states; nothing here is a tensor.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper.kasmina.host import SLOT_IDS
from esper.kasmina.lifecycle import Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from esper.kasmina.slot import SeedSlot
    from esper.simic.environment import Environment


class LifecycleOp(enum.IntEnum):
    """What to do; the numbers are the options of the op head."""

    WAIT = 0
    GERMINATE = 1
    CULL = 2
    FOSSILIZE = 3


BLUEPRINT_IDS = ("noop", "conv_light", "attention", "norm", "depthwise")
BLEND_IDS = ("linear", "sigmoid", "gated")

HEADS: Mapping[str, tuple[str, ...]] = {
    "op": tuple(op.name for op in LifecycleOp),
    "slot": SLOT_IDS,
    "blueprint": BLUEPRINT_IDS,
    "blend": BLEND_IDS,
}
"""Options by head; the order of heads is that of every packed action."""

RELEVANT: Mapping[str, tuple[LifecycleOp, ...]] = {
    "op": tuple(LifecycleOp),
    "slot": (LifecycleOp.GERMINATE, LifecycleOp.CULL, LifecycleOp.FOSSILIZE),
    "blueprint": (LifecycleOp.GERMINATE,),
    "blend": (LifecycleOp.GERMINATE,),
}
"""Operations for which a head matters."""

Masks = dict[str, list[bool]]


@dataclass(frozen=True)
class FactoredAction:
    """One choice of every head; op decides which of them matter, and what does not may be empty.

    Attributes:
        reason: Why a seed is culled, short and machine-readable.
    """

    op: LifecycleOp
    slot_id: str = ""
    blueprint_id: str = ""
    blend_id: str = ""
    reason: str = "policy"

    @classmethod
    def from_indices(cls, indices: Sequence[int]) -> FactoredAction:
        """Read a packed action: one option's index per head."""
        op, slot, blueprint, blend = indices
        return cls(LifecycleOp(op), SLOT_IDS[slot], BLUEPRINT_IDS[blueprint], BLEND_IDS[blend])


def compute_masks(slots: Mapping[str, SeedSlot], enabled: Collection[str] = SLOT_IDS) -> Masks:
    """Say what is allowed now, by head and option.

    Args:
        slots: All slots of the host.
        enabled: Slots the policy may use.
    """
    usable = [slot for slot_id, slot in slots.items() if slot_id in enabled]
    ops = {
        LifecycleOp.WAIT: True,
        LifecycleOp.GERMINATE: any(slot.stage == Stage.DORMANT for slot in usable),
        LifecycleOp.CULL: any(
            slot.is_live and slot.state is not None and slot.state.metrics.epochs_total >= 1 for slot in usable
        ),
        LifecycleOp.FOSSILIZE: any(slot.stage == Stage.PROBATIONARY for slot in usable),
    }
    return {
        "op": [ops[op] for op in LifecycleOp],
        "slot": [slot_id in enabled for slot_id in SLOT_IDS],
        "blueprint": [blueprint_id != "noop" for blueprint_id in BLUEPRINT_IDS],
        "blend": [True] * len(BLEND_IDS),
    }


def restricted(masks: Masks) -> dict[str, bool]:
    """By head: at least one option is masked."""
    return {head: not all(options) for head, options in masks.items()}


def forced(masks: Masks) -> dict[str, bool]:
    """By head: exactly one option is left."""
    return {head: sum(options) == 1 for head, options in masks.items()}


def execute(action: FactoredAction, environment: Environment) -> bool:
    """Carry an action out; False whenever it did not take effect."""
    match action.op:
        case LifecycleOp.WAIT:
            return True
        case LifecycleOp.GERMINATE:
            return environment.germinate(action.slot_id, action.blueprint_id, action.blend_id)
        case LifecycleOp.CULL:
            return environment.cull(action.slot_id, action.reason)
        case LifecycleOp.FOSSILIZE:
            return environment.fossilize(action.slot_id)
