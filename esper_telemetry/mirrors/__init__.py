"""COPY scalars to a dashboard while the run goes on: `start_run(..., mirrors=["tensorboard", "wandb"])`.

People keep the dashboard they have, and gain the record. A mirror gets numbers only: names, values, steps and times of
the scalars in each batch, after the record file has it, from a thread of its own. It never blocks the trainer; what it
does not take is counted in `run.stats().sink_losses` and is in the record all the same. A mirror of your own is an
object with the methods of `Mirror`.
"""

from esper_telemetry.mirrors.mirror import Mirror, MirroredRun, MirroredScalar, checked_mirrors, mirror_sinks

__all__ = ["Mirror", "MirroredRun", "MirroredScalar", "checked_mirrors", "mirror_sinks"]
