"""A mirror as a sink: the batches of a run in, scalars out; and how a mirror is named in `start_run`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, Protocol

from esper_telemetry.errors import ConfigError, MissingExtraError
from esper_telemetry.mirrors.batch_scalars import ScalarReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from esper_telemetry.schema import Batch


class MirroredScalar(NamedTuple):
    """One number.

    Attributes:
        name: "loss" as it was logged, or "ppo.update_completed/entropy" for a field of a typed event.
        value: the number; NaN and infinities are passed on.
        step: the step that it was logged at, else batch_idx or global_epoch of its context, else its sequence number.
        time_unix_nano: wall clock of its event, nanoseconds since 1970 UTC.
    """

    name: str
    value: float
    step: int
    time_unix_nano: int


@dataclass(frozen=True, slots=True)
class MirroredRun:
    """What a mirror knows of the run.

    Attributes:
        run_id: the run.
        name: its name for people.
        folder: the folder of its record.
        rank: distributed rank of this process.
    """

    run_id: str
    name: str
    folder: Path
    rank: int


class Mirror(Protocol):
    """A place that scalars are copied to. One thread calls it, which is not the trainer's."""

    def open(self, run: MirroredRun) -> None:
        """Begin; called before the first scalars. What is slow or may fail belongs here and not into a constructor."""

    def write(self, scalars: Sequence[MirroredScalar]) -> None:
        """Take scalars, in the order of their events. An exception counts their batch as not taken."""

    def close(self) -> None:
        """Finish; called once, and only if `open` succeeded."""


# Name → module and class here, the package that it needs, and the extra that brings it.
_KNOWN = {
    "tensorboard": ("to_tensorboard", "TensorBoardMirror", "tensorboard", "tensorboard"),
    "wandb": ("to_wandb", "WandbMirror", "wandb", "wandb"),
}


def checked_mirrors(mirrors: Iterable[str | Mirror]) -> list[Mirror]:
    """Return the mirrors of a run; a name becomes the mirror that it names.

    Raises:
        ConfigError: a name is not known, or an object lacks a method of `Mirror`.
        MissingExtraError: the package of a named mirror is not installed.
    """
    if isinstance(mirrors, str):
        raise ConfigError(f"mirrors is the text {mirrors!r}; give a list, such as mirrors=[{mirrors!r}]")
    return [_named(each) if isinstance(each, str) else _given(each) for each in mirrors]


def _named(name: str) -> Mirror:
    if name not in _KNOWN:
        raise ConfigError(f"there is no mirror {name!r}; use {', '.join(_KNOWN)}, or give an object of your own")
    module, cls, package, extra = _KNOWN[name]
    if find_spec(package) is None:
        raise MissingExtraError(f"the package {package!r}, which mirrors=[{name!r}] needs,", extra)
    made: Callable[[], Mirror] = getattr(import_module(f"esper_telemetry.mirrors.{module}"), cls)
    return made()


def _given(mirror: Mirror) -> Mirror:
    lacking = [name for name in ("open", "write", "close") if not callable(getattr(mirror, name, None))]
    if lacking or isinstance(mirror, type):
        raise ConfigError(f"the mirror {mirror!r:.80} needs the methods open(run), write(scalars) and close()")
    return mirror


def mirror_sinks(mirrors: Sequence[Mirror], run: MirroredRun) -> list[MirrorSink]:
    """Return a sink for each mirror, to be given to the run."""
    return [MirrorSink(mirror, run) for mirror in mirrors]


class MirrorSink:
    """Gives the scalars of each batch to a mirror; its name in losses and logs is that of the mirror's class."""

    def __init__(self, mirror: Mirror, run: MirroredRun) -> None:
        self.name = type(mirror).__name__
        self._mirror = mirror
        self._run = run
        self._reader = ScalarReader()
        self._open = False

    def write(self, batch: Batch) -> None:
        """Pass the scalars of `batch` on; what the mirror raises is raised, and counts the batch as not taken."""
        scalars = [MirroredScalar(*each) for each in self._reader.read(batch)]
        if not self._open:
            self._mirror.open(self._run)
            self._open = True
        if scalars:
            self._mirror.write(scalars)

    def close(self) -> None:
        """Finish the mirror, if it was begun."""
        if self._open:
            self._mirror.close()
