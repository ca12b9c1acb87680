"""Every panel there is, in the order in which a view shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.views import policyupdates, truth

if TYPE_CHECKING:
    from esper_telemetry.views.panel import Panel

PANELS: tuple[Panel, ...] = (
    truth.PANEL,
    policyupdates.PANEL,
)
