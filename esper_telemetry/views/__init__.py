"""SHOW it: pure folds over events, and what a panel shows as plain figures. Nothing here draws or reads a file.

A view (report, live page, terminal) makes a RunView, feeds it events of one run in the order of the record, and draws
the figures of `figures()`. Live view, replay and report are fed the same events and show the same figures.
"""

from esper_telemetry.views.alerts import Alerts, alerts_panel
from esper_telemetry.views.cell import Cell, CellState, Tone
from esper_telemetry.views.figure import Figure, document
from esper_telemetry.views.panel import Fold, Look, Panel, PanelFigures, ViewFacts
from esper_telemetry.views.panels import PANELS
from esper_telemetry.views.points import Window
from esper_telemetry.views.rules import AlertRule, AlertState, Finding, load_rules
from esper_telemetry.views.runcomparison import RunComparison
from esper_telemetry.views.runview import RunView
from esper_telemetry.views.truth import ReaderFindings

__all__ = [
    "PANELS",
    "AlertRule",
    "AlertState",
    "Alerts",
    "Cell",
    "CellState",
    "Figure",
    "Finding",
    "Fold",
    "Look",
    "Panel",
    "PanelFigures",
    "ReaderFindings",
    "RunComparison",
    "RunView",
    "Tone",
    "ViewFacts",
    "Window",
    "alerts_panel",
    "document",
    "load_rules",
]
