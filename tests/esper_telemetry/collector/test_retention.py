"""What retention deletes: by age, by size, by run and by tenant; planned from figures, and carried out on files."""

from __future__ import annotations

import asyncio
import os

import pytest

from esper_telemetry.collector.auth import parse_grants
from esper_telemetry.collector.retention import RetentionRule, carry_out, plan_retention, tenant_prefixes
from esper_telemetry.errors import ConfigError
from esper_telemetry.storage.archive import Weighed, WeighedSegment
from tests.esper_telemetry.collector.publisher import Produced, stored
from tests.esper_telemetry.collector.test_intake import connect, running
from tests.esper_telemetry.collector.test_producers import fill
from tests.esper_telemetry.collector.test_upkeep import files, fill_segments

DAY, NOW, MIB = 86_400.0, 1_800_000_000.0, 1 << 20


def run(run_id: str, *ages_days: float, size: int = MIB) -> Weighed:
    """A run of one producer whose segments were last written so many days ago."""
    written = sorted(NOW - age * DAY for age in ages_days)
    segments = tuple(WeighedSegment(at, size, at == written[-1]) for at in written)
    return Weighed(run_id, segments, size * len(written))


def plan(stock, *rules, prefixes=None):
    return plan_retention(stock, rules, prefixes or {}, NOW)


def gone(stock, *rules, prefixes=None) -> dict[str, int]:
    """Run → segments that a plan takes; whole runs count with all of theirs."""
    made = plan(stock, *rules, prefixes=prefixes)
    counts = {}
    for each in stock:
        old = [s for s in each.segments if s.written < made.before.get(each.run_id, 0.0) and not s.is_last]
        counts[each.run_id] = len(each.segments) if each.run_id in made.runs else len(old)
    return {run_id: count for run_id, count in counts.items() if count}


def test_nothing_is_deleted_without_a_limit():
    assert plan([run("a", 400, 300)], RetentionRule()) == ({}, {}, 0.0)
    assert plan([run("a", 400, 300)]) == ({}, {}, 0.0)


def test_by_age_old_segments_go_and_the_last_stays():
    assert gone([run("a", 40, 20, 10), run("b", 90)], RetentionRule(days=15)) == {"a": 2}


def test_by_run_a_whole_run_goes_that_nothing_was_written_to():
    stock = [run("old", 90, 31), run("young", 90, 29)]
    assert gone(stock, RetentionRule(run_days=30)) == {"old": 2}
    assert "30 days" in plan(stock, RetentionRule(run_days=30)).runs["old"]


def test_by_size_the_oldest_segments_of_all_runs_go_first():
    stock = [run("a", 9, 7, 5), run("b", 8, 6, 4)]
    assert gone(stock, RetentionRule(gib=4 / 1024)) == {"a": 1, "b": 1}
    assert gone(stock, RetentionRule(gib=6 / 1024)) == {}


def test_by_size_whole_runs_go_where_segments_are_not_enough_but_none_that_was_written_to_today():
    stock = [run("a", 9), run("b", 8), run("c", 0.5)]
    assert gone(stock, RetentionRule(gib=2 / 1024)) == {"a": 1}
    made = plan(stock, RetentionRule(gib=0.5 / 1024))
    assert set(made.runs) == {"a", "b"}
    assert made.beyond == MIB / 2


def test_the_first_rule_that_fits_holds_and_no_other():
    stock = [run("ci-1", 9, 8), run("vision-1", 9, 8), run("other", 9, 8)]
    rules = (RetentionRule(runs="ci-*", run_days=7), RetentionRule(tenant="v"), RetentionRule(days=1))
    assert gone(stock, *rules, prefixes={"v": "vision-"}) == {"ci-1": 2, "other": 1}


def test_a_size_is_that_of_the_runs_of_its_rule():
    stock = [run("ci-1", 9, 8, 7), run("other", 99, 9, 8)]
    assert gone(stock, RetentionRule(runs="ci-*", gib=2 / 1024)) == {"ci-1": 1}


def test_a_tenant_that_is_not_there_stops_all_of_it():
    grants = parse_grants('[tenant.v]\nrun_prefix = "vision-"', "tokens")
    rules = (RetentionRule(tenant="v"), RetentionRule(days=1))
    assert tenant_prefixes(rules, grants) == {"v": "vision-"}
    with pytest.raises(ConfigError, match="names the tenant 'v'; the token file has none"):
        tenant_prefixes(rules, None)


def test_files_go_as_planned_and_a_run_with_a_stream_stays(tmp_path):
    async def scenario():
        old, streaming, young = Produced(run_id="old"), Produced(run_id="streaming"), Produced(frames=4)
        async with running(tmp_path) as intake:
            for each in (old, streaming):
                await fill(intake, each)
            await fill_segments(intake, young)
            await connect(intake, streaming, epoch=9)
            for path in tmp_path.glob("*/*.esr.zst"):
                os.utime(path, (NOW - 90 * DAY,) * 2)
            os.utime(files(tmp_path, young)[-1], (NOW, NOW))
            rules = (RetentionRule(run_days=30, days=10),)
            made = plan_retention(await intake.engine.weigh(), rules, {}, NOW)
            assert set(made.runs) == {"old", "streaming"}
            assert await carry_out(intake, made) == 1
            assert not (tmp_path / "old").exists()
            assert len(files(tmp_path, young)) == 1
            assert intake._metrics.expired_segments._value.get() == 3
        assert stored(tmp_path, streaming) == streaming.raw

    asyncio.run(scenario())


def test_what_a_run_takes_is_what_its_files_take(tmp_path):
    async def scenario():
        produced = Produced(frames=3)
        async with running(tmp_path) as intake:
            await fill_segments(intake, produced)
            (weighed,) = await intake.engine.weigh()
            sizes = [path.stat().st_size for path in files(tmp_path, produced)]
            assert sorted(each.size for each in weighed.segments) == sorted(sizes)
            assert [each.is_last for each in sorted(weighed.segments)].count(True) == 1
            assert weighed.size == sum(sizes)

    asyncio.run(scenario())
