"""Every panel there is, in the order in which a view shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.views import (
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

if TYPE_CHECKING:
    from esper_telemetry.views.panel import Panel

PANELS: tuple[Panel, ...] = (
    truth.PANEL,
    alerts.PANEL,
    learning.PANEL,
    seedlanes.PANEL,
    seedfates.PANEL,
    contributions.PANEL,
    rollbacks.PANEL,
    actionmix.PANEL,
    maskheat.PANEL,
    policyupdates.PANEL,
    headstats.PANEL,
    offpolicy.PANEL,
    returns.PANEL,
    rewardparts.PANEL,
    environments.PANEL,
    namedscalars.PANEL,
    distributions.PANEL,
    customevents.PANEL,
    logged.PANEL,
    throughput.PANEL,
    machine.PANEL,
    feed.PANEL,
    recordhealth.PANEL,
)
