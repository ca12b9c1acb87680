"""Which attempt at a run a process makes, told by what is in the run's folder and by what a launcher says.

All ranks of one launch make the same attempt, in whatever order they come, because each of them decides by the same
rule: a rank that is missing from the latest attempt joins it if it comes from the same launch; who was in it
already begins the next one. A launcher that counts restarts is believed, but never to step back. Pure: streams
and environment in, numbers out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esper_telemetry.sinks import RunStream


class Launch(NamedTuple):
    """One start of all ranks of a job.

    Attributes:
        name: the same for all its ranks, and another for each restart; empty where no launcher names it.
        restarts: how often the launcher has restarted it; None where it does not count.
        source: who restarted it, for RunResumed; empty where nobody did.
    """

    name: str = ""
    restarts: int | None = None
    source: str = ""


# Launcher, its id of the job, its count of restarts. What else it says may differ between the ranks of one launch.
_LAUNCHERS = (
    ("slurm", "SLURM_JOB_ID", "SLURM_RESTART_COUNT"),
    ("torchelastic", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
)


def current_launch(environment: Mapping[str, str]) -> Launch:
    """Return what the environment says of this process's launch; one launcher may run inside another."""
    names, counts, source = [], [], ""
    for launcher, job, restarts in _LAUNCHERS:
        if job not in environment and restarts not in environment:
            continue
        count = _count(environment.get(restarts, ""))
        counts += [] if count is None else [count]
        source = launcher if count else source
        names.append(f"{launcher}:{environment.get(job, '')}:{count or 0}")
    return Launch("/".join(names), sum(counts) if counts else None, source)


def choose_attempt(streams: Sequence[RunStream], rank: int, launch: Launch, *, resumed: bool) -> int:
    """Return the number of the attempt that this process makes.

    Args:
        streams: those in the run's folder.
        rank: of this process.
        launch: of this process.
        resumed: the program says that it resumes the run.
    """
    streams = [stream for stream in streams if is_own(stream)]
    latest = max((stream.attempt for stream in streams), default=0)
    counted = 1 if launch.restarts is None else launch.restarts + 1
    if counted > latest or not latest:
        return max(counted, 2 if resumed else 1)
    peers = [stream for stream in streams if stream.attempt == latest]
    mine = [stream for stream in peers if stream.header.rank == rank]
    if any(stream.writing for stream in mine):  # at the same time: not after it
        return latest
    return latest if not mine and _is_launch_of(peers, launch, resumed=resumed) else latest + 1


def is_own(stream: RunStream) -> bool:
    """Tell the stream of a process that started a run from that of a child, which may outlive it."""
    return not stream.header.parent_producer_id


def _is_launch_of(peers: Sequence[RunStream], launch: Launch, *, resumed: bool) -> bool:
    """Tell whether a process belongs to the launch of `peers`, none of which has its rank."""
    names = {stream.header.launch for stream in peers}
    if launch.name or names != {""}:
        return launch.name in names
    # Nobody names launches. A rank that comes late joins: unless it was told to resume what is over for the first time.
    return not resumed or peers[0].attempt > 1 or any(stream.writing for stream in peers)


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
