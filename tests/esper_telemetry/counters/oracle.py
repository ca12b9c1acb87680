"""An oracle that counts at the call: plain numpy on copies of its own, and nothing of the product."""

from __future__ import annotations

from typing import Any

import numpy as np


class Oracle:
    """Counts decisions of heads with so many options each, from actions [B, H] and masks [B, S] (or none)."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.clear()

    def clear(self) -> None:
        self.rows = self.invalid_rows = 0
        self.chosen = [np.zeros(size, int) for size in self.sizes]
        self.succeeded = [np.zeros(size, int) for size in self.sizes]
        self.masked = [np.zeros(size, int) for size in self.sizes]
        self.hit, self.forced, self.empty = ([0] * len(self.sizes) for _ in range(3))
        self.invalid_selected, self.out_of_range = ([0] * len(self.sizes) for _ in range(2))

    def see(self, actions: Any, masks: Any = None, success: Any = None, valid: Any = None) -> None:
        for row in range(len(actions)):
            if valid is not None and not valid[row]:
                self.invalid_rows += 1
                continue
            self.rows += 1
            start = 0
            for head, size in enumerate(self.sizes):
                mask = None if masks is None else masks[row, start : start + size]
                self._see(head, int(actions[row, head]), mask, bool(success is not None and success[row]))
                start += size

    def _see(self, head: int, action: int, mask: Any, took: bool) -> None:
        in_range = 0 <= action < self.sizes[head]
        if in_range:
            self.chosen[head][action] += 1
            self.succeeded[head][action] += took
        else:
            self.out_of_range[head] += 1
        if mask is not None:
            self.masked[head] += ~mask
            self.hit[head] += not mask.all()
            self.forced[head] += int(mask.sum()) == 1
            self.empty[head] += not mask.any()
            self.invalid_selected[head] += bool(in_range and not mask[action])

    def counts(self, *, masks: bool = True, success: bool = True) -> dict[str, Any]:
        """Return the counts under the names that events give them, by head."""
        names = {"chosen": self.chosen, "out_of_range": self.out_of_range}
        if masks:
            names |= {"masked": self.masked, "hit": self.hit, "forced": self.forced, "empty": self.empty}
            names |= {"invalid_selected": self.invalid_selected}
        if success:
            names["succeeded"] = self.succeeded
        found: dict[str, Any] = {name: [np.asarray(one).tolist() for one in counts] for name, counts in names.items()}
        return {"total": self.rows, "invalid_rows": self.invalid_rows, **found}


def counts_in(events: list[tuple[type, dict[str, Any]]]) -> dict[str, Any]:
    """Return the same of the events of a snapshot, as a reader of the record sees them."""
    by_type: dict[str, list[dict[str, Any]]] = {}
    for event_class, fields in events:
        by_type.setdefault(event_class.__name__, []).append(fields)
    distributions, rates = by_type.get("ActionDistribution", []), by_type.get("MaskHitRates", [])
    (checked,) = by_type["CountersChecked"]
    found: dict[str, Any] = {
        "total": checked["decisions"],
        "invalid_rows": checked["invalid_rows"],
        "chosen": [list(one["action_counts"].values()) for one in distributions],
        "out_of_range": [one["out_of_range"] for one in distributions],
    }
    for name in ("masked", "hit", "forced", "empty", "invalid_selected") if rates else ():
        found[name] = [head[name] for head in rates[0]["heads"] if name in head]
    if any("success_counts" in one for one in distributions):
        found["succeeded"] = [list(one["success_counts"].values()) for one in distributions]
    return found


def said_in(events: list[tuple[type, dict[str, Any]]]) -> int:
    """Return how many rows the events say are left out or doubtful; each event that has counts says the same."""
    said = {fields["left_out"] + fields["doubtful"] for _, fields in events if "left_out" in fields}
    assert len(said) == 1
    return said.pop()
