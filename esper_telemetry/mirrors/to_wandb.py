"""Scalars into Weights & Biases, with the settings of the user's environment (WANDB_MODE, WANDB_PROJECT, login).

wandb drops values whose step goes back, so its own step is left alone: each value carries the step it belongs to as
`esper_step`, which is the axis that its charts use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.mirrors.mirror import MirroredRun, MirroredScalar

STEP = "esper_step"


class WandbMirror:
    """Logs into a wandb run that has the id and name of ours."""

    def open(self, run: MirroredRun) -> None:
        """Begin the wandb run; it may wait for the network, in the mirror's thread."""
        import wandb

        settings = wandb.Settings(console="off")
        rank = {"group": run.run_id, "id": f"{run.run_id}-rank{run.rank}"} if run.rank else {"id": run.run_id}
        self._run: Any = wandb.init(name=run.name, dir=str(run.folder), settings=settings, reinit="create_new", **rank)
        self._run.define_metric("*", step_metric=STEP)

    def write(self, scalars: Sequence[MirroredScalar]) -> None:
        """Log scalars; those of one step that follow each other go together."""
        together: dict[str, float] = {}
        step: int | None = None
        for scalar in scalars:
            if together and (scalar.step != step or scalar.name in together):
                self._run.log({**together, STEP: step})
                together = {}
            step = scalar.step
            together[scalar.name] = scalar.value
        if together:
            self._run.log({**together, STEP: step})

    def close(self) -> None:
        """Finish the wandb run."""
        self._run.finish()
