"""Records for tests of the page: a run with everything that is drawn, and one that goes on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import esper_telemetry
from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry import events

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS = (seed_pb2, trainer_pb2)
HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=2</script>\x1b[31m\u202eevil\u2066'


def update(run, batch: int, **fields) -> None:
    """Emit an update of the policy."""
    found = {
        "policy_loss": -0.1 / batch,
        "value_loss": 1.0 / batch,
        "entropy": 1.5 - batch / 100,
        "lr": 3e-4,
        "skipped": False,
    }
    run.bind(batch_idx=batch, episodes_completed=4 * batch).emit(events.PpoUpdateCompleted, **found | fields)


def fill(run, batches: int = 40) -> None:
    """Emit a bit of everything: NaN, values that are unset, seeds, masks, actions."""
    for batch in range(1, batches + 1):
        odd = {7: {"value_loss": math.nan}, 9: {"entropy": None}}.get(batch, {})
        update(run, batch, **{name: value for name, value in odd.items() if value is not None})
        run.emit(events.ScalarLogged, name="loss", value=1 / batch, step=batch)
        seat = run.bind(env_id=batch % 2, device="cpu", inner_epoch=1, global_epoch=batch)
        seat.emit(events.EpochCompleted, train_loss=1 / batch, val_accuracy=50.0 + batch)
        if batch % 10 == 1:
            seed = {"slot_id": "mid", "seed_id": f"s{batch}"}
            seat.emit(seed_pb2.SeedGerminated, **seed, blueprint_id="conv_light", alpha=0.0)
            seat.emit(seed_pb2.SeedCulled, **seed, from_stage="SEED_STAGE_TRAINING", alpha=0.25)
        spot = run.bind(batch_idx=batch, episodes_completed=4 * batch)
        spot.emit(events.ActionDistribution, action_counts={"wait": batch, "go": 3}, head="op")
        heads = [
            {
                "head": "op",
                "total": 10,
                "hit": 4,
                "options": ["wait", "go"],
                "masked": [0, batch % 10],
                "chosen": [7, 3],
            }
        ]
        spot.emit(events.MaskHitRates, heads=heads)
    run.results["val_accuracy"] = 0.9


def record(folder: Path, name: str = "whole", work=fill, **options) -> Path:
    """Record a run and return its folder."""
    options.setdefault("schemas", SCHEMAS)
    with esper_telemetry.start_run(folder, name=name, **options) as run:
        work(run)
    return run.folder
