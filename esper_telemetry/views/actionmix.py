"""What the policy did: shares of the options by batch with what took effect, and the last decisions one by one."""

from __future__ import annotations

from collections import Counter, deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from esper_telemetry.views.axes import XKind, x_axis
from esper_telemetry.views.batches import BatchTable, batch_gaps
from esper_telemetry.views.cell import Cell, Tone, measured, unavailable
from esper_telemetry.views.figure import Stack, Table, TableColumn
from esper_telemetry.views.panel import Fold, Look, Panel

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

COUNTS = "policy.action_distribution"
TAKEN = "policy.action_taken"
LAST = 24
_STUCK = 8
_MOST_BARS = 160
_FAILED = "\0failed"
_UNSEEN = "\0success"


class ActionMix(Fold):
    """Counts by head and batch, and the latest decisions."""

    def __init__(self) -> None:
        self._heads: dict[str, BatchTable] = {}
        self._last: deque[Event] = deque(maxlen=LAST)
        self._tries: dict[tuple[int, int, int], deque[tuple[str, bool]]] = {}
        self.out_of_range = 0
        self.left_out = 0

    def add(self, event: Event) -> None:
        """Take the counts of a head, or one decision."""
        data = event.data
        if event.type == TAKEN:
            self._last.append(event)
            self._try(event, data)
            return
        table = self._heads.setdefault(str(data.get("head", "")), BatchTable())
        chosen: dict[str, Any] = data.get("action_counts", {})
        worked: dict[str, Any] | None = data.get("success_counts")
        counts = dict(chosen)
        # An option that was chosen and is in no success count never worked, unless there are no such counts at all.
        for name, count in chosen.items():
            if worked:
                counts[name + _FAILED] = count - worked.get(name, 0)
        if not worked:
            counts[_UNSEEN] = 1
        self.out_of_range += data.get("out_of_range", 0)
        self.left_out += data.get("left_out", 0)
        table.add(event, data.get("batch_idx", 0), str(data.get("device", "")), counts)

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return shares by head, then the last decisions."""
        found: list[Figure] = [self._stack(head, table, look) for head, table in self._heads.items()]
        if self._last:
            found.append(self._decisions())
        return tuple(found)

    def patterns(self) -> list[str]:
        """Return what the tries of single environments show: one that never works, or plants and culls in turn."""
        found = []
        for (attempt, rank, env), tries in sorted(self._tries.items()):
            del attempt, rank
            if len(tries) == _STUCK and not any(success for _, success in tries):
                found.append(f"STUCK: the last {_STUCK} operations of env {env} took no effect")
            turns = [op for op, _ in tries]
            if len(tries) == _STUCK and all(a != b for a, b in pairwise(turns)):
                kinds = " and ".join(sorted(set(turns)))
                if len(set(turns)) == 2:  # noqa: PLR2004 - two in turn
                    found.append(f"THRASH: env {env} does {kinds} in turn")
        return found

    def _try(self, event: Event, data: dict[str, Any]) -> None:
        op = str(data.get("op", ""))
        success = data.get("action_success")
        if op in ("", "WAIT") or success is None:
            return
        key = event.attempt, event.rank, data.get("env_id", 0)
        self._tries.setdefault(key, deque(maxlen=_STUCK)).append((op, bool(success)))

    @staticmethod
    def _stack(head: str, table: BatchTable, look: Look) -> Stack:
        parts = [name for name in table.names if not name.endswith(_FAILED) and name != _UNSEEN]
        stretches = table.stretches(_MOST_BARS, look)
        amounts = tuple(tuple(one.counts.get(part, 0) for part in parts) for one in stretches)
        failed = tuple(
            tuple(None if _UNSEEN in one.counts else one.counts.get(part + _FAILED, 0) for part in parts)
            for one in stretches
        )
        each = max((one.last - one.first + 1 for one in stretches), default=1)
        text = "Hatched: chosen, and took no effect. " if any(any(row) for row in failed) else ""
        text += f"Each bar is the sum of up to {each} batches." if each > 1 else ""
        return Stack(
            f"Choices of head {head or '(unnamed)'}",
            x_axis(XKind.BATCH),
            "{action}",
            tuple(parts),
            tuple(float(one.first) for one in stretches),
            amounts,
            failed,
            share=True,
            seqs=tuple(one.seq for one in stretches),
            gaps=tuple(batch_gaps(stretches, table.full_name, look)),
            explanation=text,
        )

    def _decisions(self) -> Table:
        columns = (
            TableColumn("#", text="Sequence number of the event or its block", numeric=True),
            TableColumn("env", numeric=True),
            TableColumn("epoch", numeric=True),
            TableColumn("op"),
            TableColumn("slot"),
            TableColumn("blueprint"),
            TableColumn("blend"),
            TableColumn("took effect"),
            TableColumn("forced", text="Heads that had one option left"),
            TableColumn("reward", numeric=True),
        )
        rows = tuple(_decision(event) for event in reversed(self._last))
        text = "; ".join(self.patterns())
        return Table(f"Last {len(rows)} decisions", columns, rows, tuple(e.seq for e in reversed(self._last)), 0, text)


def _decision(event: Event) -> tuple[Cell, ...]:
    data = event.data
    success = data.get("action_success")
    heads = ("op", "slot", "blueprint", "blend")
    forced = [head for head in heads if data.get(f"{head}_forced")]
    known = any(f"{head}_forced" in data for head in heads)
    worked = (
        unavailable("not recorded with this decision")
        if success is None
        else measured("✓" if success else "✗", tone=Tone.GOOD if success else Tone.WARNING)
    )
    return (
        measured(event.seq),
        measured(data.get("env_id")),
        measured(data.get("inner_epoch")),
        measured(data.get("op")),
        measured(data.get("slot_id")),
        measured(data.get("blueprint_id")),
        measured(data.get("blend_id")),
        worked,
        measured(", ".join(forced) or "none") if known else unavailable("this policy has no masks"),
        measured(data.get("reward")),
    )


def chosen_total(fold: ActionMix, head: str) -> Counter[str]:
    """Return how often each option of a head was chosen over the run."""
    totals: Counter[str] = Counter()
    table = fold._heads.get(head)  # noqa: SLF001 - of this module
    for one in table.stretches(1 << 30) if table is not None else ():
        totals.update({name: int(count) for name, count in one.counts.items() if "\0" not in name})
    return totals


PANEL = Panel(
    "actions",
    "Actions",
    "Which operations the policy prefers, and how many of them take no effect.",
    {
        COUNTS: ("head", "action_counts", "success_counts", "out_of_range", "left_out", "batch_idx", "device"),
        TAKEN: (
            "op",
            "slot_id",
            "blueprint_id",
            "blend_id",
            "op_forced",
            "slot_forced",
            "blueprint_forced",
            "blend_forced",
            "action_success",
            "reward",
            "env_id",
            "inner_epoch",
        ),
    },
    ActionMix,
)
