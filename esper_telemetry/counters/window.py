"""One window of records, sorted by form and folded into a bank's cells.

Every record is judged by its form (kinds, shapes, names) before it is counted: one that does
not fit is reported, left out, and the others are folded without it. Errors of the device are
reported too, never raised into the trainer (unless the bank is strict). What is left out has
cells of its own.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from esper_telemetry.counters.cells import INVALID_ROWS, LEFT_OUT, MISUSE, MISUSES, VALUES_LEFT_OUT, GivenParts
from esper_telemetry.counters.entry import (
    DECISION_FIELDS,
    STEP_FIELDS,
    Entry,
    Steps,
    check_counted,
    guard_of,
    never,
    signature_of,
    size_of,
    values_of,
)
from esper_telemetry.counters.stacks import RecordStack
from esper_telemetry.counters.state import CounterState, add_totals_
from esper_telemetry.counters.step_counts import Folded, Workspace, fold_
from esper_telemetry.counters.update import add_moments_, fill_buckets_, update_, update_value_
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from esper_telemetry.counters.detail import StepDetail
    from esper_telemetry.counters.misuse import Misuse
    from esper_telemetry.counters.spec import CounterSpec

# Forms that a bank remembers; batches of every size would fill it for ever.
_MAX_FORMS = 1024


class Form(NamedTuple):
    """What one signature means.

    Attributes:
        group: steps of one group can be joined.
        error: why it does not fit; "" if it does.
    """

    group: Any
    error: str


class WindowFold:
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
        self._device = state.buffer.device
        self._scalars = {name: i for i, name in enumerate(spec.scalars)}
        self._histograms = {name: i for i, name in enumerate(spec.histograms)}
        self._workspace = Workspace(self._device, workspace_bytes)
        self._forms: dict[Any, Form] = {}
        self._totals: dict[int, int] = {}
        self._misfits: list[str] = []

    def add(self, cell: int, count: int) -> None:
        """Add a number that the host knows to a cell, with the next fold."""
        self._totals[cell] = self._totals.get(cell, 0) + count

    def add_misuse(self, counts: Mapping[str, int]) -> None:
        """Add misuse by kind to its cells, now."""
        for kind, count in counts.items():
            if kind in MISUSES:
                self.add(MISUSE + MISUSES.index(kind), count)
        self._add_totals()

    def fold(self, entries: Sequence[Entry], stacks: Sequence[RecordStack] = ()) -> None:
        """Count `entries` and what `stacks` hold, deferred: few launches, whatever their number."""
        with quiet(self._device):
            try:
                joined: list[Entry] = []
                for stack in stacks:
                    if stack.kind is None and self._detail is not None and not stack.has_one_context():
                        entries = [*stack.entries(), *entries]
                        continue
                    joined += stack.values()
                    if stack.kind is None:
                        self._attempt(self._fold_stack, stack)
                steps, values = self._sorted(entries)
                values += joined
                for group in steps.values():
                    self._attempt(self._fold_steps, group)
                self._attempt(self._fold_scalars, [entry for entry in values if entry[0] in self._scalars])
                for name in self._histograms:
                    self._attempt(self._fold_histogram, [entry for entry in values if entry[0] == name])
            finally:  # a strict bank may have raised: what was folded keeps its totals
                self._add_totals()
        self._report_misfits()

    def update(self, entries: Iterable[Entry]) -> None:
        """Count `entries`, each at once: some fifteen launches a record."""
        with quiet(self._device):
            for entry in entries:
                if not self._form_of(entry).error:
                    self._attempt(self._update_each, [entry])
        self._report_misfits()

    def update_value(self, name: str, value: Tensor, weight: Tensor | None = None) -> None:
        """Count one value at once; also inside a compiled region."""
        update_value_(self._state, self._scalars.get(name, -1), self._histograms.get(name, -1), value, weight)

    def _update_each(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if len(entry) != STEP_FIELDS:
                self.update_value(*entry)
                continue
            actions, masks, success, valid, *_ = entry
            update_(self._state, actions, masks, success, valid)
            for value in self._values_in(entry):
                self.update_value(*value)

    def _sorted(self, entries: Sequence[Entry]) -> tuple[dict[Any, list[Entry]], list[Entry]]:
        """Return the steps that fit, by group, and all values that fit."""
        steps: dict[Any, list[Entry]] = {}
        values: list[Entry] = []
        newest: Any = None
        add: Any = None
        facts: Sequence[Any] | None = None
        alike = never
        for entry in entries:
            if len(entry) == STEP_FIELDS and entry[3] is entry[4] is None and alike(*entry[:3]):
                if self._detail is None or self._detail.continues(entry):
                    add(entry)
                    continue
            elif facts is not None and self._continues(entry, facts):
                add(entry)
                continue
            if len(entry) == STEP_FIELDS and entry[4] is not None:
                values.extend(self._values_in(entry))
            form = self._form_of(entry)
            if form.error:
                continue
            if len(entry) != STEP_FIELDS:
                values.append(entry)
                continue
            group = (form.group, self._form_of_detail(entry))
            if group != newest:
                newest, add = group, steps.setdefault(group, []).append
            add(entry)
            facts = _facts_of(entry)
            usual = facts is not None and None not in facts[:3] and facts[3] is None
            alike = guard_of(entry[:3]) if usual and len(entries) > 1 else never
        return steps, values

    def _continues(self, entry: Entry, facts: Sequence[Any]) -> bool:
        """Tell whether a step is like the one before, of packed tensors: a third of its signature's price."""
        if len(entry) != STEP_FIELDS or entry[4] is not None:
            return False
        for part, known in zip(entry, facts, strict=False):
            if part is None or known is None:
                if part is not known:
                    return False
            elif (
                type(part) is not Tensor
                or part.shape != known[0]
                or part.dtype is not known[1]
                or part.device != known[2]
            ):
                return False
        return self._detail is None or self._detail.continues(entry)

    def _values_in(self, step: Entry) -> list[Entry]:
        """Return the scalars of a step that fit; the step's decisions are right without the others."""
        try:
            values = values_of(step)
        except CounterError as error:
            self._leave_out(VALUES_LEFT_OUT, 1, str(error))
            return []
        return [value for value in values if not self._form_of(value).error]

    def _leave_out(self, cell: int, size: int, why: str) -> None:
        self.add(cell, size)
        self._misfits.append(f"a record of this window is left out: {why}")

    def _form_of(self, entry: Entry) -> Form:
        """Return what an entry is by its form; one that does not fit is counted as left out, and reported later."""
        try:
            signature = signature_of(entry)
            form = self._forms.get(signature)
        except Exception:  # noqa: BLE001 - something in it is no tensor
            signature, form = None, None
        if form is None:
            form = self._examined(entry)
            if signature is not None and len(self._forms) < _MAX_FORMS:
                self._forms[signature] = form
        if form.error:
            self._leave_out(LEFT_OUT if len(entry) == STEP_FIELDS else VALUES_LEFT_OUT, size_of(entry), form.error)
        return form

    def _examined(self, entry: Entry) -> Form:
        try:
            check_counted(self._spec, self._device, entry)
        except CounterError as error:
            return Form(None, str(error))
        return Form(tuple(map(_joinable, entry[:DECISION_FIELDS])) if len(entry) == STEP_FIELDS else None, "")

    def _report_misfits(self) -> None:
        misfits, self._misfits = self._misfits, []
        for message in misfits:
            self._misuse.report("misfit", message)

    def _form_of_detail(self, entry: Entry) -> Any:
        """Return the form of an entry's rows; one that has none is counted, and its rows are lost by themselves."""
        try:
            return None if self._detail is None else self._detail.form_of(entry)
        except Exception:  # noqa: BLE001 - keeping its rows fails in the same way, and reports it
            return "unknown"

    def _attempt(self, fold: Callable[[Any], None], entries: Sequence[Entry] | RecordStack) -> None:
        """Fold `entries`; if that fails they are left out, and that is reported."""
        if not len(entries):
            return
        try:
            fold(entries)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong here must not reach the trainer
            if isinstance(entries, RecordStack):
                self.add(LEFT_OUT, entries.size())
            for entry in [] if isinstance(entries, RecordStack) else entries:
                self.add(LEFT_OUT if len(entry) == STEP_FIELDS else VALUES_LEFT_OUT, size_of(entry))
            what = f"{len(entries)} records were lost: counting them failed with {type(error).__name__}: {error}"
            self._misuse.report("failed", what, count=len(entries))

    def _add_totals(self) -> None:
        totals, self._totals = self._totals, {}
        try:
            add_totals_(self._state, totals)
        except Exception as error:  # noqa: BLE001 - as in `_attempt`
            self._misuse.report("failed", f"adding totals failed: {type(error).__name__}: {error}")

    def _fold_steps(self, entries: Sequence[Entry]) -> None:
        if entries[0][0] is None and entries[0][1] is None:
            return  # values alone
        actions, masks, success, valid = (
            [entry[part] for entry in entries] if entries[0][part] is not None else []
            for part in range(DECISION_FIELDS)
        )
        together = Steps(*([entry[field] for entry in entries] for field in (5, 6, 4)))
        self._count([actions, masks, success, valid], len(entries), together)

    def _fold_stack(self, stack: RecordStack) -> None:
        *decisions, scalars = stack.joined()
        if decisions[0] is None and decisions[1] is None:
            return  # values alone
        given = [[] if part is None else [part] for part in decisions]
        self._count(given, len(stack), Steps(stack.contexts, stack.times, [scalars]), owned=True)

    def _count(self, decisions: Sequence[list[Any]], number: int, together: Steps, *, owned: bool = False) -> None:
        """Count the decisions of so many steps of one form, each part joined or step by step."""
        actions, masks, success, valid = decisions
        folded = fold_(self._state, actions, masks, success, self._workspace, valid=valid, owned=owned)
        part = GivenParts(bool(actions), bool(masks), bool(success))
        for cell in range(part.steps.start, part.steps.stop):
            self.add(cell, number)
        if valid:
            self.add(INVALID_ROWS, folded.rows)  # less the decisions, which the device has taken off
        else:
            for cell in range(part.rows.start, part.rows.stop):
                self.add(cell, folded.rows)
        if self._detail is not None and actions:
            self._keep(self._detail, folded, together)

    def _keep(self, detail: StepDetail, folded: Folded, together: Steps) -> None:
        try:
            detail.keep(folded, together, self._state.layout)
        except Exception as error:  # noqa: BLE001 - the counts are right; detail is shed first
            detail.rows_shed += folded.rows
            self._misuse.report("detail", f"detail of {folded.rows} rows was lost: {type(error).__name__}: {error}")

    def _fold_scalars(self, entries: Sequence[Entry]) -> None:
        columns: list[list[Tensor]] = [[] for _ in self._scalars]
        weights: list[list[Tensor]] = [[] for _ in self._scalars]
        for name, value, weight in entries:
            columns[self._scalars[name]].append(value.reshape(-1))
            weights[self._scalars[name]].append(self._weight(value, weight))
        lengths = [sum(value.shape[0] for value in column) for column in columns]
        longest = max(lengths)
        padded = min(lengths) < longest
        for column, weight, length in zip(columns, weights, lengths, strict=True):
            if length < longest:
                column.append(self._state.nil.expand(longest - length))
                weight.append(self._state.nil.expand(longest - length))
        if not longest:
            return
        joined = torch.cat([value for column in columns for value in column]).view(len(columns), longest)
        weighted = padded or any(weight is not None for _, _, weight in entries)
        weight_of = torch.cat([one for weight in weights for one in weight]).view(joined.shape) if weighted else None
        add_moments_(self._state, 0, joined, weight_of)

    def _weight(self, value: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None:
            return self._state.unit.expand(value.numel())
        return weight.expand(value.shape).reshape(-1)

    def _fold_histogram(self, entries: Sequence[Entry]) -> None:
        values = torch.cat([value.reshape(-1) for _, value, _ in entries])
        number, weights = self._histograms[entries[0][0]], None
        if any(weight is not None for _, _, weight in entries):
            weights = torch.cat([self._weight(value, weight) for _, value, weight in entries])
        else:
            self.add(self._state.layout.buckets[number], values.shape[0])
        fill_buckets_(self._state, number, values, weights)


def _facts_of(entry: Entry) -> Sequence[Any] | None:
    """Return what the parts of a step of packed tensors are; None of any other."""
    parts = entry[:DECISION_FIELDS]
    if not all(part is None or type(part) is Tensor for part in parts):
        return None
    return [None if part is None else (part.shape, part.dtype, part.device) for part in parts]


def _joinable(part: Any) -> Any:
    """Return what parts have in common that can be joined step after step."""
    if part is None:
        return None
    if isinstance(part, Tensor):
        return part.shape[1:], part.dtype
    return tuple((key, one.shape[1:], one.dtype) for key, one in part.items())


@contextmanager
def quiet(device: torch.device) -> Iterator[None]:
    """Turn gradients off for a while, and autocast, which would sum in half precision."""
    on = device.type in ("cpu", "cuda") and torch.is_autocast_enabled(device.type)
    with torch.no_grad(), torch.autocast(device.type, enabled=False) if on else nullcontext():
        yield
