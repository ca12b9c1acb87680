"""What a collector deletes by itself, and why: by age, by size, by run and by tenant.

A rule names runs, and what is kept of them; the first rule that fits a run holds for it, and no other. A plan is
pure: it is made of what the files weigh. Segments go first, oldest first, but never the last of a producer: it holds
the number up to which everything is stored. Only a rule that says so takes whole runs, and those with a stream or a
reader stay.
What is to go by its age goes on the word of the wall clock, so `expiry` decides when a plan is made at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.collector.auth import EVERYBODY
from esper_telemetry.collector.queries import delete_run
from esper_telemetry.collector.refusal import Refused
from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esper_telemetry.collector.auth import Grants
    from esper_telemetry.collector.intake import Intake
    from esper_telemetry.storage.archive import Weighed

_DAY_S = 86_400.0
_GIB = float(1 << 30)
# For their size whole runs go only after so long without a write: a trainer may be paused for a night.
_IDLE_S = _DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """What is kept of some runs; 0 sets no limit.

    Attributes:
        runs: pattern of run ids, as a shell writes it.
        tenant: of the token file: the rule is about runs with its `run_prefix` only. Empty for all.
        days: segments that were last written so long ago go, but the last of each producer.
        gib: what the record files of all these runs take together, GiB; beyond it the oldest segments go, then the
            oldest whole runs of those that nothing was written to for a day.
        run_days: whole runs that nothing was written to for so long go.
    """

    runs: str = "*"
    tenant: str = ""
    days: float = 0.0
    gib: float = 0.0
    run_days: float = 0.0

    @property
    def limits(self) -> bool:
        """Whether it deletes anything."""
        return bool(self.days or self.gib or self.run_days)

    def check(self, where: str) -> None:
        """Check the amounts.

        Args:
            where: names the rule in the error.

        Raises:
            ConfigError: one is no amount.
        """
        for name, amount in (("days", self.days), ("gib", self.gib), ("run_days", self.run_days)):
            if not 0 <= amount < math.inf:
                raise ConfigError(f"{where}: {name} {amount:g} is no amount; 0 keeps everything")

    def fits(self, run_id: str, prefixes: Mapping[str, str]) -> bool:
        """Return whether the rule is about a run; `prefixes` are those of tenants."""
        return run_id.startswith(prefixes[self.tenant] if self.tenant else "") and fnmatchcase(run_id, self.runs)


_KEYS: dict[str, type | tuple[type, ...]] = {
    "runs": str,
    "tenant": str,
    "days": (int, float),
    "gib": (int, float),
    "run_days": (int, float),
}


def parse_rules(tables: Sequence[Mapping[str, object]]) -> tuple[RetentionRule, ...]:
    """Return the rules that tables of a configuration file give.

    Raises:
        ConfigError: a key is unknown, or a value of a wrong kind.
    """
    rules = []
    for number, table in enumerate(tables, 1):
        for key, value in table.items():
            if key not in _KEYS:
                raise ConfigError(f"retention rule {number}: {key} is unknown; there are {', '.join(_KEYS)}")
            if isinstance(value, bool) or not isinstance(value, _KEYS[key]):
                raise ConfigError(f"retention rule {number}: {key} {value!r} is of the wrong kind")
        rules.append(RetentionRule(**table))  # type: ignore[arg-type]  # looked at above
    return tuple(rules)


class RetentionPlan(NamedTuple):
    """What is to go.

    Attributes:
        before: run → segments last written before go (wall clock, seconds); runs that are not in it lose none.
        runs: whole runs → why.
        beyond: bytes that have to stay though a rule's `gib` is less.
    """

    before: dict[str, float]
    runs: dict[str, str]
    beyond: float


def tenant_prefixes(rules: Sequence[RetentionRule], grants: Grants | None) -> dict[str, str]:
    """Return what the run ids of each tenant start with that a rule names.

    Raises:
        ConfigError: the token file has no such tenant. Nothing may be deleted then: another rule would fit its runs.
    """
    tenants = grants.tenants if grants is not None else {}
    named = {rule.tenant for rule in rules if rule.tenant}
    missing = sorted(named - tenants.keys())
    if missing:
        raise ConfigError(f"retention names the tenant {missing[0]!r}; the token file has {sorted(tenants) or 'none'}")
    return {name: tenants[name].run_prefix for name in named}


def plan_retention(
    stock: Sequence[Weighed], rules: Sequence[RetentionRule], prefixes: Mapping[str, str], now: float
) -> RetentionPlan:
    """Return what is to go.

    Args:
        stock: what every run takes.
        rules: the first that fits a run holds for it.
        prefixes: tenant → what its run ids start with; of every tenant that a rule names.
        now: wall clock, seconds since 1970 UTC.
    """
    plan = RetentionPlan({}, {}, 0.0)
    chosen: list[list[Weighed]] = [[] for _ in rules]
    for run in stock:
        number = next((n for n, rule in enumerate(rules) if rule.fits(run.run_id, prefixes)), None)
        if number is not None and run.segments:
            chosen[number].append(run)
    for rule, runs in zip(rules, chosen, strict=True):
        plan = plan._replace(beyond=plan.beyond + _apply(rule, runs, plan, now))
    return plan


def _apply(rule: RetentionRule, runs: list[Weighed], plan: RetentionPlan, now: float) -> float:
    """Add to the plan what a rule wants of its runs; return the bytes that stay beyond its size."""
    if rule.run_days:
        dead = [run for run in runs if not run.spared and _last_written(run) < now - rule.run_days * _DAY_S]
        plan.runs.update(dict.fromkeys((run.run_id for run in dead), f"after {rule.run_days:g} days without a write"))
        runs = [run for run in runs if run.run_id not in plan.runs]
    before = now - rule.days * _DAY_S if rule.days else 0.0
    total = sum(run.size for run in runs) - rule.gib * _GIB
    going = sorted((each.written, each.size) for run in runs for each in run.segments if not each.is_last)
    for written, size in going:
        if written >= before and not (rule.gib and total > 0):
            break
        before = max(before, math.nextafter(written, math.inf))
        total -= size
    if before:
        plan.before.update(dict.fromkeys((run.run_id for run in runs), before))
    if not rule.gib:
        return 0.0
    for run in sorted(runs, key=_last_written):
        if total <= 0 or _last_written(run) >= now - _IDLE_S:
            break
        if run.spared:
            continue
        plan.runs[run.run_id] = f"for a limit of {rule.gib:g} GiB"
        total -= sum(each.size for each in run.segments if each.is_last or each.written >= before)
    return max(0.0, total)


def _last_written(run: Weighed) -> float:
    return max(each.written for each in run.segments)


async def carry_out(intake: Intake, plan: RetentionPlan) -> int:
    """Delete what a plan says; return how many runs went. Runs with a stream or a reader stay.

    Raises:
        Refused: STORAGE where the disk refused.
    """
    for run_id, sizes in await intake.engine.expire(lambda run_id: plan.before.get(run_id, 0.0)):
        intake.count_expired(sizes)
        intake.roster.give_back(run_id, sum(sizes))
    gone = 0
    for run_id, why in plan.runs.items():
        try:
            await delete_run(intake, run_id, EVERYBODY, f"by retention {why}")
        except Refused as refused:
            if refused.reason not in _LEFT_ALONE:
                raise
        else:
            gone += 1
    return gone


_LEFT_ALONE = frozenset({"BUSY", "NO_RUN"})
