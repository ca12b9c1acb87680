"""Rules that judge a run: their TOML, and the state of each one, with hysteresis, over the events of the run.

A rule has a state of its own for each place it can fire at (rank, environment, head, name). It fires after so many
measurements in a row and clears after so many good ones; a measurement that is missing does neither. Nothing here
has a clock: absence and staleness are judged by the times of events, or by the time that a live view hands over.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import ConfigError
from esper_telemetry.views.cell import Tone, plain_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esper_telemetry.decode import Event
    from esper_telemetry.views.panel import Look

DEFAULT_RULES = Path(__file__).with_name("default_rules.toml")
MOST_STATES = 4096
"""Places of one rule that are told apart; a program that makes up names must not take all memory."""

NAMED = "scalar."
"""Beginning of the event types whose values have names of their own."""

_NANOS = 1e9


class RuleKind(StrEnum):
    """What a rule looks at."""

    THRESHOLD = "threshold"
    NON_FINITE = "non_finite"
    OCCURS = "occurs"
    ABSENCE = "absence"
    STALENESS = "staleness"
    LOSS = "loss"


class AlertState(StrEnum):
    """Where a rule is at one place."""

    QUIET = "quiet"
    PENDING = "pending"
    FIRING = "firing"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One rule; default_rules.toml explains the names."""

    name: str
    kind: RuleKind
    event: str = ""
    fields: tuple[str, ...] = ()
    above: float | None = None
    below: float | None = None
    equals: tuple[str, ...] = ()
    after: int = 1
    clear: float | None = None
    clear_after: int = 1
    within_s: float = 0.0
    min_lost: int = 1
    severity: Tone = Tone.WARNING
    text: str = ""

    def is_bad(self, value: float) -> bool:
        """Tell whether a value is beyond the threshold; NaN never is, and has a rule of its own."""
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)

    def is_good(self, value: float) -> bool:
        """Tell whether a value clears a firing rule: it is on the good side of `clear`, or of the threshold."""
        if self.clear is None:
            return not self.is_bad(value) and not math.isnan(value)
        return value <= self.clear if self.above is not None else value >= self.clear

    @property
    def limit(self) -> str:
        """The threshold as text."""
        if self.kind is RuleKind.THRESHOLD:
            limit = f"> {plain_number(self.above)}" if self.above is not None else f"< {plain_number(self.below or 0)}"
            return limit + (f", {self.after} in a row" if self.after > 1 else "")
        texts = {
            RuleKind.NON_FINITE: "must be finite",
            RuleKind.OCCURS: " or ".join(self.equals) or "must not occur",
            RuleKind.ABSENCE: f"within {plain_number(self.within_s)} s",
            RuleKind.STALENESS: f"every {plain_number(self.within_s)} s",
            RuleKind.LOSS: f"fewer than {self.min_lost}",
        }
        return texts[self.kind]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found at one place.

    Attributes:
        rule: the rule.
        place: where, e.g. "rank 1, env 3, heads op"; "" for the whole run.
        state: FIRING or CLEARED.
        value: the value that counts, as text: the worst one of those that fired it.
        seq: sequence number of its event; None where it is no event.
        first_ns: when it fired first, nanoseconds since 1970 UTC; 0 where that is no event's time.
        times: measurements that were beyond the threshold.
    """

    rule: AlertRule
    place: str
    state: AlertState
    value: str
    seq: int | None
    first_ns: int
    times: int


@dataclass(slots=True)
class _PlaceState:
    """One rule at one place."""

    state: AlertState = AlertState.QUIET
    bad_in_row: int = 0
    good_in_row: int = 0
    times: int = 0
    worst: float | None = None
    text: str = ""
    seq: int | None = None
    first_ns: int = 0

    def bad(self, rule: AlertRule, value: float | None, text: str, event: Event) -> None:
        self.good_in_row = 0
        self.bad_in_row += 1
        self.times += 1
        if self.worst is None or value is None or _worse(rule, value, self.worst):
            self.worst, self.text, self.seq = value, text, event.seq
        if self.state is AlertState.FIRING:
            return
        if self.bad_in_row >= rule.after:
            self.state = AlertState.FIRING
            self.first_ns = self.first_ns or event.time_unix_nano
        elif self.state is AlertState.QUIET:
            self.state = AlertState.PENDING

    def good(self, rule: AlertRule) -> None:
        self.bad_in_row = 0
        if self.state is AlertState.PENDING:
            self.state = AlertState.QUIET
        elif self.state is AlertState.FIRING:
            self.good_in_row += 1
            if self.good_in_row >= rule.clear_after:
                self.state = AlertState.CLEARED
                self.good_in_row = 0


def _worse(rule: AlertRule, value: float, than: float) -> bool:
    return value > than if rule.above is not None else value < than


@dataclass(slots=True)
class RuleStates:
    """The states of one rule over a run."""

    rule: AlertRule
    places: dict[str, _PlaceState] = field(default_factory=dict)
    last_ns: int = 0
    seen: int = 0

    def add(self, event: Event) -> None:
        """Take an event of the rule's type."""
        rule = self.rule
        self.seen += 1
        self.last_ns = max(self.last_ns, event.time_unix_nano)
        if rule.kind is RuleKind.OCCURS:
            self._occurs(event)
        elif rule.kind in (RuleKind.THRESHOLD, RuleKind.NON_FINITE):
            data = event.data
            for name in rule.fields:
                value = data.get(name)
                if type(value) is float and not self.places and not self._is_bad(value):
                    continue  # nothing is firing, and this is good: by far the most frequent case
                where = _place(event, data)
                for part, found in values_at(data, name):
                    self._measure(event, ", ".join(filter(None, [where, part])), found)

    def judges(self, look: Look) -> bool:
        """Tell whether the rule has had anything to judge: without an event it is not fulfilled, it is silent."""
        timed = self.rule.kind in (RuleKind.ABSENCE, RuleKind.STALENESS, RuleKind.LOSS)
        return bool(look.facts.started_ns) if timed else bool(self.seen)

    def findings(self, look: Look) -> Iterator[Finding]:
        """Yield what has fired so far."""
        rule = self.rule
        if rule.kind is RuleKind.LOSS:
            missing = look.facts.numbering.missing
            if missing >= rule.min_lost:
                yield Finding(rule, "", AlertState.FIRING, f"{missing:,} events", None, 0, missing)
        elif rule.kind in (RuleKind.ABSENCE, RuleKind.STALENESS):
            yield from self._timed(look)
        for place, state in self.places.items():
            if state.state in (AlertState.FIRING, AlertState.CLEARED):
                yield Finding(rule, place, state.state, state.text, state.seq, state.first_ns, state.times)

    def _occurs(self, event: Event) -> None:
        data, rule = event.data, self.rule
        texts = [str(value) for name in rule.fields for _, value in values_at(data, name)]
        if rule.equals and not set(texts) & set(rule.equals):
            return
        state = self._state(_place(event, data))
        state.bad(rule, None, ", ".join(texts) or event.type, event)

    def _measure(self, event: Event, place: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        rule = self.rule
        bad = self._is_bad(value)
        known = self.places.get(place)
        if bad:
            state = known or self._state(place)
            state.bad(rule, None if rule.kind is RuleKind.NON_FINITE else float(value), plain_number(value), event)
        elif known is not None:
            good = rule.kind is RuleKind.NON_FINITE or rule.is_good(value)
            if good:
                known.good(rule)
            else:
                known.bad_in_row = known.good_in_row = 0

    def _is_bad(self, value: float) -> bool:
        rule = self.rule
        return not math.isfinite(value) if rule.kind is RuleKind.NON_FINITE else rule.is_bad(value)

    def _state(self, place: str) -> _PlaceState:
        if place not in self.places and len(self.places) >= MOST_STATES:
            place = "elsewhere"
        return self.places.setdefault(place, _PlaceState())

    def _timed(self, look: Look) -> Iterator[Finding]:
        facts, rule = look.facts, self.rule
        if not facts.started_ns:
            return
        now = look.now_ns if look.now_ns is not None and not facts.outcome else facts.last_ns
        if rule.kind is RuleKind.ABSENCE:
            age = (now - facts.started_ns) / _NANOS
            if not self.seen and (age > rule.within_s or facts.outcome):
                yield Finding(rule, "", AlertState.FIRING, f"none in {plain_number(age)} s", None, 0, 1)
            return
        age = (now - (self.last_ns or facts.started_ns)) / _NANOS
        if age > rule.within_s:
            yield Finding(rule, "", AlertState.FIRING, f"{plain_number(age)} s ago", None, 0, 1)


def values_at(data: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of a field with what tells them apart: parts of lists by their key, values of maps by name."""
    name, _, rest = path.partition(".")
    value = data.get(name)
    if value is None:
        return
    if isinstance(value, list):
        for at, item in enumerate(value):
            if isinstance(item, dict):
                key = next((str(part) for part in item.values() if isinstance(part, str)), str(at))
                yield from ((f"{name} {key}", found) for _, found in values_at(item, rest))
            else:
                yield f"{name}[{at}]", item
    elif isinstance(value, dict):
        if rest:
            found = values_at(value, rest) if rest not in value else iter([("", value[rest])])
            yield from ((rest, one) for _, one in found)
        else:
            yield from value.items()
    else:
        yield "" if not rest else path, value


def _place(event: Event, data: Mapping[str, Any]) -> str:
    texts = [f"rank {event.rank}"] if event.rank else []
    texts += [f"env {data['env_id']}"] if "env_id" in data else []
    texts += [str(data["name"])] if event.type.startswith(NAMED) and "name" in data else []
    return ", ".join(texts)


def load_rules(path: Path | None = None) -> tuple[AlertRule, ...]:
    """Read rules from TOML.

    Args:
        path: the file; None is the default rules.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or a rule is wrong; the message names the rule.
    """
    path = path or DEFAULT_RULES
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the rules cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: the rules are no TOML: {error}") from None
    rules = document.get("rule", [])
    if not isinstance(rules, list) or not rules or set(document) - {"rule"}:
        raise ConfigError(f"{path}: a file of rules holds [[rule]] tables and nothing else; {DEFAULT_RULES} is one")
    return tuple(_rule(one, f"{path}: rule {at}") for at, one in enumerate(rules, 1))


def _rule(given: Any, where: str) -> AlertRule:
    if not isinstance(given, dict):
        raise ConfigError(f"{where} is no table")
    values = dict(given)
    if "field" in values:
        values["fields"] = [values.pop("field")]
    where = f"{where} ({values.get('name', 'no name')!s})"
    known = {one.name for one in fields(AlertRule)}
    strange = sorted(set(values) - known)
    if strange:
        raise ConfigError(f"{where}: {strange[0]!r} is no setting of a rule; there are: {', '.join(sorted(known))}")
    _check_types(values, where)
    try:
        kind = RuleKind(values.get("kind", ""))
    except ValueError:
        kinds = ", ".join(RuleKind)
        raise ConfigError(f"{where}: kind is {values.get('kind')!r}; there are: {kinds}") from None
    severity = values.get("severity", "warning")
    if severity not in ("warning", "bad"):
        raise ConfigError(f'{where}: severity is {severity!r}; it may be "warning" or "bad"')
    for name in ("fields", "equals"):
        values[name] = tuple(values.get(name, ()))
    rule = AlertRule(**{**values, "kind": kind, "severity": Tone(severity), "name": values.get("name", "")})
    _check(rule, where)
    return rule


_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "kind", "event", "severity", "text"), (str,)),
    **dict.fromkeys(("above", "below", "clear", "within_s"), (int, float)),
    **dict.fromkeys(("after", "clear_after", "min_lost"), (int,)),
    **dict.fromkeys(("fields", "equals"), (list,)),
}


def _check_types(values: Mapping[str, Any], where: str) -> None:
    for name, value in values.items():
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            wanted = " or ".join(kind.__name__ for kind in _TYPES[name])
            raise ConfigError(f"{where}: {name} is {value!r}; it must be of type {wanted}")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{where}: {name} is {value!r}; it must be a list of texts")


def _check(rule: AlertRule, where: str) -> None:
    if not rule.name:
        raise ConfigError(f"{where}: a rule needs a name")
    if rule.kind is not RuleKind.LOSS and not rule.event:
        raise ConfigError(f'{where}: a rule of kind {rule.kind} needs an event, as event = "ppo.update_completed"')
    if rule.kind in (RuleKind.THRESHOLD, RuleKind.NON_FINITE) and not rule.fields:
        raise ConfigError(f"{where}: a rule of kind {rule.kind} needs a field")
    if rule.kind is RuleKind.THRESHOLD and (rule.above is None) == (rule.below is None):
        raise ConfigError(f"{where}: a threshold is either above or below a value")
    if rule.kind in (RuleKind.ABSENCE, RuleKind.STALENESS) and rule.within_s <= 0:
        raise ConfigError(f"{where}: a rule of kind {rule.kind} needs within_s, seconds greater than 0")
    if min(rule.after, rule.clear_after, rule.min_lost) < 1:
        raise ConfigError(f"{where}: after, clear_after and min_lost are at least 1")
    if rule.clear is not None and rule.is_bad(rule.clear):
        raise ConfigError(f"{where}: clear = {rule.clear} is itself beyond the threshold")


def reads_of_rules(rules: Sequence[AlertRule]) -> dict[str, tuple[str, ...]]:
    """Return the fields that rules read, by event type."""
    reads: dict[str, tuple[str, ...]] = {}
    for rule in rules:
        if rule.event:
            name = ("name",) if rule.event.startswith(NAMED) else ()
            reads[rule.event] = tuple(dict.fromkeys((*reads.get(rule.event, ()), *rule.fields, *name)))
    return reads
