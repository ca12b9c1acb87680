"""Each environment as a tile, and a table of the hosts that were trained, best first."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.views.cell import Cell, Tone, measured, not_yet
from esper_telemetry.views.figure import Grid, Item, Table, TableColumn, Tile
from esper_telemetry.views.panel import Fold, Look, Panel

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

_KEPT_HOSTS = 4096
_SHOWN_HOSTS = 12


@dataclass(slots=True)
class EnvironmentState:
    """What the latest episode of one environment has shown; a new episode starts from nothing."""

    episode: tuple[object, object] = (None, None)
    accuracy: float | None = None
    loss: float | None = None
    epoch: int | None = None
    seq: int | None = None
    best: float = -math.inf
    episodes: int = 0
    last_return: Cell = field(default_factory=not_yet)
    rollbacks: int = 0
    seeds: set[str] = field(default_factory=set)


class Environments(Fold):
    """Tiles by environment, and hosts."""

    def __init__(self) -> None:
        self._environments: dict[tuple[int, int], EnvironmentState] = {}
        self._hosts: deque[tuple[float, tuple[Cell, ...], int]] = deque(maxlen=_KEPT_HOSTS)
        self._host_count = 0

    def add(self, event: Event) -> None:
        """Take an event of an environment."""
        data = event.data
        env = data.get("env_id")
        if env is None:
            return
        key = event.rank, env
        state = self._environments.get(key)
        if state is None:
            state = self._environments[key] = EnvironmentState()
        kind = event.type
        if kind == "epoch.completed":
            self._begin(state, data.get("episode"), data.get("global_epoch"))
            state.accuracy = accuracy = data.get("val_accuracy")
            state.loss, state.epoch, state.seq = data.get("val_loss"), data.get("inner_epoch"), event.seq
            if accuracy is not None and accuracy > state.best:
                state.best = accuracy
        elif kind == "episode.completed":
            state.episodes += 1
            state.last_return = measured(data.get("episode_return"), reason="no rewards", seq=event.seq)
        elif kind == "governor.rolled_back":
            state.rollbacks += 1
        elif kind == "host.completed":
            self._host(event)

    @staticmethod
    def _begin(state: EnvironmentState, episode: object, batch: object) -> None:
        if state.episode != (episode, batch):
            state.episode = episode, batch
            state.accuracy, state.loss, state.epoch, state.seq = None, None, None, None
            state.best = -math.inf

    def _host(self, event: Event) -> None:
        data = event.data
        accuracy = data.get("val_accuracy")
        params = data.get("host_params")
        more = data.get("seed_params")
        growth = 100 * more / params if params and more is not None else None
        self._host_count += 1
        cells = (
            measured(data.get("episode")),
            measured(data.get("env_id")),
            measured(accuracy, "%", reason="the last state was not validated"),
            measured(data.get("test_accuracy"), "%"),
            measured(data.get("seeds_germinated")),
            measured(data.get("seeds_fossilized")),
            measured(data.get("seeds_culled")),
            measured(data.get("rollbacks")),
            measured(growth, "%"),
        )
        self._hosts.append((-math.inf if accuracy is None else accuracy, cells, event.seq))

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the grid, then the best and the worst hosts."""
        found: list[Figure] = []
        keys = sorted(self._environments)
        tiles = tuple(self._tile(key, look) for key in keys[: look.rows])
        if tiles:
            text = "Of the latest episode of each environment."
            found.append(Grid("Environments", tiles, text, len(keys) - len(tiles)))
        if self._hosts:
            found.append(self._table())
        return tuple(found)

    def _tile(self, key: tuple[int, int], look: Look) -> Tile:
        rank, env = key
        state = self._environments[key]
        stream = f" · rank {rank}" if len(look.facts.ranks) > 1 else ""
        begun = state.seq is not None
        tone = _loss_tone(state.loss)
        loss = measured(state.loss, tone=tone, seq=state.seq) if begun else not_yet()
        word = measured("loss not finite", tone=tone) if tone is Tone.BAD else measured("finite", tone=Tone.GOOD)
        if state.loss is None:
            word = loss
        best = measured(state.best, "%") if math.isfinite(state.best) else not_yet()
        items = (
            Item("accuracy", measured(state.accuracy, "%", seq=state.seq) if begun else not_yet()),
            Item("best", best),
            Item("loss", loss),
            Item("epoch", measured(state.epoch) if begun else not_yet()),
            Item("episodes", measured(state.episodes)),
            Item("return", state.last_return),
            Item("rollbacks", measured(state.rollbacks, tone=Tone.WARNING if state.rollbacks else Tone.PLAIN)),
        )
        return Tile(f"env {env}{stream}", word, items)

    def _table(self) -> Table:
        ordered = sorted(self._hosts, key=lambda host: -host[0])
        half = _SHOWN_HOSTS // 2
        shown = ordered if len(ordered) <= _SHOWN_HOSTS else ordered[:half] + ordered[-half:]
        columns = (
            TableColumn("episode", numeric=True),
            TableColumn("env", numeric=True),
            TableColumn("validation", "%", "Accuracy at the end", numeric=True),
            TableColumn("test", "%", "On the test set, which no gate reads", numeric=True),
            TableColumn("planted", numeric=True),
            TableColumn("kept", numeric=True),
            TableColumn("discarded", numeric=True),
            TableColumn("rollbacks", numeric=True),
            TableColumn("growth", "%", "Parameters of seeds in the forward pass over those of the host", numeric=True),
        )
        hidden = self._host_count - len(shown)
        text = f"The best {half} and the worst {half} of {self._host_count:,}." if hidden else ""
        rows = tuple(cells for _, cells, _ in shown)
        return Table("Hosts by validation accuracy", columns, rows, tuple(s for *_, s in shown), hidden, text)


def _loss_tone(loss: float | None) -> Tone:
    return Tone.PLAIN if loss is None or math.isfinite(loss) else Tone.BAD


PANEL = Panel(
    "environments",
    "Environments",
    "One environment that differs from the others.",
    {
        "epoch.completed": ("env_id", "episode", "global_epoch", "inner_epoch", "val_accuracy", "val_loss"),
        "episode.completed": ("env_id", "episode_return"),
        "governor.rolled_back": ("env_id",),
        "host.completed": (
            "env_id",
            "episode",
            "val_accuracy",
            "test_accuracy",
            "seeds_germinated",
            "seeds_fossilized",
            "seeds_culled",
            "rollbacks",
            "host_params",
            "seed_params",
        ),
    },
    Environments,
    level="minimal",
)
