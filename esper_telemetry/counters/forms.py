"""What a record may look like: kinds, shapes and names, by one rule for tensors and arrays.

It knows neither torch nor numpy: a bank passes what it was given (`Facts`), and gets the
number of rows, or a `CounterError` that names the part, what it is and what is wanted.
Only what can be told without reading a value is judged here; what a rule of conversion
makes of odd values (a mask of 7, a one-hot row with two ones) shows in the counts.

    actions   integers or bool: packed [B, H], or head -> [B] or [B, 1]; with one head [B] too.
              One-hot of any real kind: packed [B, S], or head -> [B, K]; a row without exactly
              one entry other than 0 is out of range.
    masks     bool, True = valid; or integers, 1 = valid: packed [B, S], or [B, H, K] where all
              heads have K options, or head -> [B, K]. Never floats: 0 is "forbidden" to one
              policy and "allowed" to another.
    success   bool [B].     valid   bool [B], False = no decision.
    scalars   any real kind, 0-d or [B].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from esper_telemetry.errors import CounterError
from esper_telemetry.schema import CONTEXT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.counters.spec import CounterSpec

_INDEX_KINDS = ("int", "bool")
_REAL_KINDS = ("int", "bool", "float")
_WIDE, _CUBE = 2, 3


class Facts(NamedTuple):
    """What is known of a tensor or array without reading it.

    Attributes:
        kind: "bool", "int", "float", or another word for what fits nowhere.
        dtype: for messages.
        shape: its sizes.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...]


Given: TypeAlias = "Facts | Mapping[str, Facts]"


class Shape(NamedTuple):
    """The facts of one record, part by part; None where it was not given."""

    actions: Given | None
    masks: Given | None
    success: Facts | None
    valid: Facts | None


def check_step(spec: CounterSpec, given: Shape) -> int:
    """Return the rows of a step; 0 if it has no decisions.

    Raises:
        CounterError: a part does not fit the spec or the other parts.
    """
    rows: dict[str, int] = {}
    if given.actions is not None:
        rows |= _check_actions(spec, given.actions)
    if given.masks is not None:
        rows |= _check_masks(spec, given.masks)
    for what, facts in (("success", given.success), ("valid", given.valid)):
        if facts is not None:
            _demand(what, facts, ("bool",), "bool")
            rows |= {what: _rows(what, facts, len(facts.shape) == 1, "[B]")}
    if given.success is not None and given.actions is None:
        raise CounterError("success: given without actions; it tells which actions took effect")
    if len(set(rows.values())) > 1:
        sizes = ", ".join(f"{what}: {size}" for what, size in rows.items())
        raise CounterError(f"record_step: the parts have different numbers of environments ({sizes})")
    return next(iter(rows.values()), 0)


def check_value(spec: CounterSpec, name: str, value: Facts, weight: Facts | None) -> None:
    """Raise CounterError unless the spec has the value, and both are real numbers of one shape (or 0-d)."""
    columns = spec.row.scalars if spec.row is not None else {}
    if name not in spec.value_names and name not in columns:
        names = ", ".join(dict.fromkeys((*spec.value_names, *columns))) or "none"
        raise CounterError(f"scalar {name!r} is unknown; the spec has: {names}")
    _demand(f"scalar {name!r}", value, _REAL_KINDS, "a real number")
    if weight is None:
        return
    _demand(f"weight of scalar {name!r}", weight, _REAL_KINDS, "a real number, or bool")
    if weight.shape not in ((), value.shape):
        raise CounterError(
            f"weight of scalar {name!r}: shape is {weight.shape}; give that of the value, {value.shape}, or 0-d"
        )


def unknown_context(context: Mapping[str, Any]) -> set[str]:
    """Return the keywords that no field of the context takes."""
    return context.keys() - CONTEXT_FIELDS


def check_context(context: Mapping[str, Any]) -> None:
    """Raise CounterError unless every keyword is an integer field of the context."""
    for name, value in context.items():
        numbers = [value] if isinstance(value, int) else value
        fits = hasattr(numbers, "__iter__") and all(isinstance(number, int) for number in numbers)
        if name not in CONTEXT_FIELDS or not fits:
            raise CounterError(
                f"record_step: {name}={value!r:.80} is no argument, and no integer field of the context (nor one"
                f" integer for each environment); its fields are {', '.join(sorted(CONTEXT_FIELDS))}"
            )


def is_one_hot(facts: Facts, options: int) -> bool:
    """Tell whether the actions of a head of so many options (packed ones: of all heads) are one-hot by their shape."""
    return len(facts.shape) == _WIDE and facts.shape[1] == options > 1


def _check_actions(spec: CounterSpec, given: Given) -> dict[str, int]:
    heads = {head: len(options) for head, options in spec.heads.items()}
    if isinstance(given, Facts):
        one_hot = is_one_hot(given, spec.option_count) and spec.option_count > len(heads)
        flat = len(given.shape) == 1 and len(heads) == 1
        fits = one_hot or flat or (len(given.shape) == _WIDE and given.shape[1] == len(heads))
        wanted = f"[B, {len(heads)}]" + (" or [B]" if len(heads) == 1 else "")
        return {"actions": _check_choice("actions (packed)", given, one_hot=one_hot, fits=fits, wanted=wanted)}
    _demand_heads("actions", given, heads)
    rows = {}
    for head, facts in given.items():
        one_hot = is_one_hot(facts, heads[head])
        fits = one_hot or len(facts.shape) == 1 or (len(facts.shape) == _WIDE and facts.shape[1] == 1)
        what = f"actions of head {head!r}"
        rows[what] = _check_choice(what, facts, one_hot=one_hot, fits=fits, wanted="[B]")
    return rows


def _check_choice(what: str, facts: Facts, *, one_hot: bool, fits: bool, wanted: str) -> int:
    _demand(what, facts, _REAL_KINDS if one_hot else _INDEX_KINDS, "integers")
    return _rows(what, facts, fits, f"{wanted}, or one-hot")


def _check_masks(spec: CounterSpec, given: Given) -> dict[str, int]:
    heads = {head: len(options) for head, options in spec.heads.items()}
    wanted = "bool (True = valid), or integers of 1 (valid) and 0; of an additive mask give mask == 0"
    if isinstance(given, Facts):
        _demand("masks (packed)", given, _INDEX_KINDS, wanted)
        fits = len(given.shape) == _WIDE and given.shape[1] == spec.option_count
        widths = set(heads.values())
        fits = fits or (len(given.shape) == _CUBE and given.shape[1:] == (len(heads), *widths))
        return {"masks": _rows("masks (packed)", given, fits, f"[B, {spec.option_count}]")}
    _demand_heads("masks", given, heads)
    rows = {}
    for head, facts in given.items():
        what = f"masks of head {head!r}"
        _demand(what, facts, _INDEX_KINDS, wanted)
        fits = len(facts.shape) == _WIDE and facts.shape[1] == heads[head]
        rows[what] = _rows(what, facts, fits, f"[B, {heads[head]}]")
    return rows


def _demand_heads(what: str, given: Mapping[str, Facts], heads: Mapping[str, int]) -> None:
    if set(given) != set(heads):
        raise CounterError(f"{what}: heads are {', '.join(map(str, given))}; the spec has {', '.join(heads)}")
    if len({facts.dtype for facts in given.values()}) > 1:
        raise CounterError(f"{what}: the heads have different dtypes; give all the same")


def _demand(what: str, facts: Facts, kinds: tuple[str, ...], wanted: str) -> None:
    if facts.kind not in kinds:
        raise CounterError(f"{what}: dtype is {facts.dtype}; give {wanted}")


def _rows(what: str, facts: Facts, fits: bool, wanted: str) -> int:
    if not fits:
        raise CounterError(f"{what}: shape is {facts.shape}; give {wanted}")
    return facts.shape[0]
