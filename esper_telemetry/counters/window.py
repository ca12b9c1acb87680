"""One window of records, sorted by form and folded into a bank's cells.

A record that does not fit is found here at the latest: it is reported, left out, and the
others are folded without it. Errors of the device are reported too, never raised into
the trainer (unless the bank is strict).
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from esper_telemetry.counters.entry import STEP_FIELDS, Entry, check_entry
from esper_telemetry.counters.fold import Folded, fold_
from esper_telemetry.counters.layout import Part
from esper_telemetry.counters.state import CounterState, add_totals_
from esper_telemetry.counters.update import fill_buckets_, summarize_, update_, update_value_
from esper_telemetry.counters.workspace import Workspace
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from esper_telemetry.counters.guard import Misuse
    from esper_telemetry.counters.spec import CounterSpec
    from esper_telemetry.counters.steps import StepDetail


class Window:
    """Folds windows into `state`.

    Args:
        spec: what is counted.
        state: the accumulators.
        detail: takes the rows of steps; None when steps are off.
        misuse: where records that do not fit are reported.
        workspace_bytes: size up to which a scratch tensor is kept for the next fold, on the CPU.
    """

    def __init__(
        self,
        spec: CounterSpec,
        state: CounterState,
        detail: StepDetail | None,
        misuse: Misuse,
        workspace_bytes: int,
    ) -> None:
        self._spec, self._state, self._detail, self._misuse = spec, state, detail, misuse
        self._scalars = {name: i for i, name in enumerate(spec.scalars)}
        self._histograms = {name: i for i, name in enumerate(spec.histograms)}
        self._workspace = Workspace(state.buffer.device, workspace_bytes)
        columns = spec.row.scalars if spec.row is not None else {}
        self._known = {*spec.value_names, *columns}
        self._totals: dict[int, int] = {}

    def fold(self, entries: Sequence[Entry]) -> None:
        """Count `entries`, deferred: few launches, whatever their number."""
        steps, values = self._sorted(entries)
        with quiet(self._state.buffer.device):
            try:
                for form in steps.values():
                    self._attempt(self._fold_steps, form)
                self._attempt(self._fold_scalars, [entry for entry in values if entry[0] in self._scalars])
                for name in self._histograms:
                    self._attempt(self._fold_histogram, [entry for entry in values if entry[0] == name])
                for number, entry in enumerate(values):
                    if entry[0] not in self._known:
                        self._fits(number, entry)
            finally:  # a strict bank may have raised: what was folded keeps its totals
                totals, self._totals = self._totals, {}
                add_totals_(self._state, totals)

    def update(self, entries: Iterable[Entry]) -> None:
        """Count `entries`, each at once: some fifteen launches a record."""
        with quiet(self._state.buffer.device):
            for number, entry in enumerate(entries):
                if self._fits(number, entry):
                    self._attempt(self._update_each, [entry])

    def update_value(self, name: str, value: Tensor) -> None:
        """Count one value at once; also inside a compiled region."""
        update_value_(self._state, self._scalars.get(name, -1), self._histograms.get(name, -1), value)

    def _update_each(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if len(entry) != STEP_FIELDS:
                self.update_value(*entry)
                continue
            actions, masks, success, scalars, _, _ = entry
            update_(self._state, actions, masks, success)
            for name, value in (scalars or {}).items():
                self.update_value(name, value)

    def _sorted(self, entries: Sequence[Entry]) -> tuple[dict[Any, list[Entry]], list[Entry]]:
        """Return the steps by form, and all values as (name, tensor)."""
        steps: dict[Any, list[Entry]] = {}
        values: list[Entry] = []
        newest: Any = None
        add: Any = None
        for entry in entries:
            if len(entry) != STEP_FIELDS:
                values.append(entry)
                continue
            actions, masks, success, scalars, _, _ = entry
            form = (type(actions), type(masks), success is None, self._form_of_detail(entry))
            if form != newest:
                newest, add = form, steps.setdefault(form, []).append
            add(entry)
            if scalars is not None:  # and not `if scalars`: what is no dict may be a tensor, whose truth is a host wait
                values.extend(scalars.items() if hasattr(scalars, "items") else [("scalars", scalars)])
        return steps, values

    def _form_of_detail(self, entry: Entry) -> Any:
        """Return the form of an entry's rows; one that has none is counted, and its rows are lost by themselves."""
        try:
            return None if self._detail is None else self._detail.form_of(entry)
        except Exception:  # noqa: BLE001 - keeping its rows fails in the same way, and says so
            return "unknown"

    def _attempt(self, fold: Callable[[Sequence[Entry]], None], entries: Sequence[Entry]) -> None:
        """Fold `entries`; if that fails, report those that do not fit and fold the others."""
        if not entries:
            return
        try:
            fold(entries)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong here must not reach the trainer
            fitting = [entry for number, entry in enumerate(entries) if self._fits(number, entry)]
            if len(fitting) == len(entries):
                what = f"{len(entries)} records were lost: counting them failed with {type(error).__name__}: {error}"
                self._misuse.report("failed", what, count=len(entries))
            else:
                self._attempt(fold, fitting)

    def _fits(self, number: int, entry: Entry) -> bool:
        try:
            check_entry(self._spec, self._state.buffer.device, entry)
        except CounterError as error:
            self._misuse.report("misfit", f"record {number} of its form in this window is left out: {error}")
            return False
        return True

    def _add(self, cells: slice, count: int) -> None:
        for cell in range(cells.start, cells.stop):
            self._totals[cell] = self._totals.get(cell, 0) + count

    def _fold_steps(self, entries: Sequence[Entry]) -> None:
        actions, masks, success = (
            [entry[part] for entry in entries] if entries[0][part] is not None else [] for part in range(3)
        )
        folded = fold_(self._state, actions, masks, success, self._workspace)
        part = Part(bool(actions), bool(masks), bool(success))
        self._add(part.steps, len(entries))
        self._add(part.rows, folded.rows)
        if self._detail is not None and actions:
            self._keep(self._detail, folded, entries)

    def _keep(self, detail: StepDetail, folded: Folded, entries: Sequence[Entry]) -> None:
        try:
            detail.keep(folded, entries, self._state.layout)
        except Exception as error:  # noqa: BLE001 - the counts stand; detail is shed first
            detail.rows_shed += folded.rows
            self._misuse.report("detail", f"detail of {folded.rows} rows was lost: {type(error).__name__}: {error}")

    def _fold_scalars(self, entries: Sequence[Entry]) -> None:
        columns: list[list[Tensor]] = [[] for _ in self._scalars]
        for name, value in entries:
            columns[self._scalars[name]].append(value.reshape(-1))
        lengths = [sum(value.shape[0] for value in column) for column in columns]
        longest = max(lengths)
        for column, length in zip(columns, lengths, strict=True):
            if length < longest:  # NaN counts in nothing but the number recorded, which the host knows
                column.append(self._state.nan.expand(longest - length))
        if longest:
            joined = torch.cat([value for column in columns for value in column])
            summarize_(self._state, 0, joined.view(len(columns), longest))
        for i, length in enumerate(lengths):
            self._add(slice(self._state.layout.recorded + i, self._state.layout.recorded + i + 1), length)

    def _fold_histogram(self, entries: Sequence[Entry]) -> None:
        number = self._histograms[entries[0][0]]
        values = torch.cat([value.reshape(-1) for _, value in entries])
        fill_buckets_(self._state, number, values)
        cell = self._state.layout.buckets[number]
        self._add(slice(cell, cell + 1), values.shape[0])


@contextmanager
def quiet(device: torch.device) -> Iterator[None]:
    """Turn gradients off for a while, and autocast, which would sum in half precision."""
    on = device.type in ("cpu", "cuda") and torch.is_autocast_enabled(device.type)
    with torch.no_grad(), torch.autocast(device.type, enabled=False) if on else nullcontext():
        yield
