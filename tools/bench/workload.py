"""Telemetry of a training run that never was: the same events for every contender, as names and plain fields.

Values drift and jitter as measurements do; constant ones would compress to nothing.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from esper.v1 import seed_pb2
from esper_telemetry import events

if TYPE_CHECKING:
    from google.protobuf.message import Message

START = 1_780_000_000_000_000_000
SLOTS = [f"r{row}c{column}" for row in range(3) for column in range(3)]
LAYERS = [f"host.block{block}.{part}" for block in range(8) for part in ("conv1", "conv2", "norm", "proj")]
_STEPS_PER_EPOCH = 400
BLUEPRINTS = ["norm", "attention", "depthwise", "conv_light", "conv_heavy"]


class Made(NamedTuple):
    """One event, before anybody has built anything of it."""

    cls: type[Message]
    time: int
    context: dict[str, Any]
    fields: dict[str, Any]


def make_events(count: int, seed: int = 7) -> list[Made]:
    """Return `count` events of five types, of which most are scalars and epochs."""
    rng = random.Random(seed)  # noqa: S311 - a workload, not a secret
    made: list[Made] = []
    contexts: dict[tuple[int, int], dict[str, Any]] = {}
    time, loss = START, 2.3
    for step in range(count):
        time += int(rng.expovariate(1 / 4e5)) + 20_000
        loss = max(0.05, loss * 0.99999 + rng.gauss(0, 0.004))
        env = rng.randrange(8)
        context = contexts.setdefault((env, step // _STEPS_PER_EPOCH), _context(env, step // _STEPS_PER_EPOCH))
        kind = rng.random()
        if kind < 0.35:  # noqa: PLR2004 - shares of the types
            name = f"train/{rng.choice(LAYERS)}/grad_norm"
            made.append(
                Made(events.ScalarLogged, time, context, {"name": name, "value": rng.gauss(0.8, 0.3), "step": step})
            )
        elif kind < 0.65:  # noqa: PLR2004 - see above
            made.append(Made(events.EpochCompleted, time, context, _epoch(rng, loss)))
        elif kind < 0.80:  # noqa: PLR2004 - see above
            made.append(Made(events.PpoUpdateCompleted, time, context, _update(rng)))
        elif kind < 0.90:  # noqa: PLR2004 - see above
            made.append(Made(seed_pb2.SeedBlendProgressed, time, context, _blend(rng)))
        else:
            fields = {
                "step_time_ms": rng.gauss(12, 0.6),
                "dataloader_wait_ms": abs(rng.gauss(0.4, 0.1)),
                "fps": rng.gauss(8200, 120),
            }
            made.append(Made(events.Throughput, time, context, fields))
    return made


def _context(env: int, epoch: int) -> dict[str, Any]:
    """Return where events of an environment happen during an epoch: bound once, shared by its events."""
    batch = epoch // 25 + 1
    return {
        "env_id": env,
        "device": f"cuda:{env % 2}",
        "batch_idx": batch,
        "inner_epoch": epoch % 25 + 1,
        "global_epoch": batch,
        "episodes_completed": 8 * batch,
    }


def _epoch(rng: random.Random, loss: float) -> dict[str, Any]:
    accuracy = 100 * math.exp(-loss / 2.6)
    return {
        "train_loss": loss,
        "val_loss": loss + 0.05 + rng.gauss(0, 0.01),
        "train_accuracy": min(accuracy, 100.0),
        "val_accuracy": max(0.0, accuracy - 2 + rng.gauss(0, 0.3)),
    }


def _update(rng: random.Random) -> dict[str, Any]:
    return {
        "policy_loss": rng.gauss(-0.01, 0.004),
        "value_loss": abs(rng.gauss(0.4, 0.05)),
        "entropy": rng.gauss(1.7, 0.05),
        "clip_fraction": round(abs(rng.gauss(0.11, 0.03)), 4),
        "explained_variance": rng.gauss(0.8, 0.03),
        "grad_norm": abs(rng.gauss(0.45, 0.05)),
        "lr": 3e-4,
    }


def _blend(rng: random.Random) -> dict[str, Any]:
    return {"slot_id": rng.choice(SLOTS), "blueprint_id": rng.choice(BLUEPRINTS), "alpha": round(rng.random(), 2)}
