"""Every module that declares a panel is in the list that views show, once, under an id of its own."""

from __future__ import annotations

from esper_telemetry.views import (
    PANELS,
    actionmix,
    alerts,
    contributions,
    customevents,
    distributions,
    environments,
    feed,
    headstats,
    learning,
    logged,
    machine,
    maskheat,
    namedscalars,
    offpolicy,
    policyupdates,
    recordhealth,
    returns,
    rewardparts,
    rollbacks,
    seedfates,
    seedlanes,
    throughput,
    truth,
)
from esper_telemetry.views.plots import Plot, reads_of

MODULES = (
    actionmix, alerts, contributions, customevents, distributions, environments, feed, headstats, learning, logged,
    machine, maskheat, namedscalars, offpolicy, policyupdates, recordhealth, returns, rewardparts, rollbacks,
    seedfates, seedlanes, throughput, truth,
)  # fmt: skip


def test_every_panel_is_listed_once():
    assert {panel.id for panel in PANELS} == {module.PANEL.id for module in MODULES}
    assert len({panel.id for panel in PANELS}) == len(PANELS) == len(MODULES)
    assert len({panel.title for panel in PANELS}) == len(PANELS)


def test_what_plots_read_is_told_by_event_type():
    plots = (Plot("a.b", "x", "x"), Plot("a.b", "y", "y"), Plot("c.d", "z", "z"))
    assert reads_of(plots, "env_id") == {"a.b": ("env_id", "x", "y"), "c.d": ("env_id", "z")}
