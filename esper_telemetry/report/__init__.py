"""REPORT it: the panels of a record as one HTML file, and single panels in a notebook. SVG and HTML are made here.

Nothing is fetched, nothing is written beside the file that was asked for, and whatever comes from a record is text.
"""

from esper_telemetry.report.gathering import GatheredRun, Watch, gather
from esper_telemetry.report.plotting import PlottedPanel, plot
from esper_telemetry.report.reportpage import GENERATOR, ReportText, report_page

__all__ = ["GENERATOR", "GatheredRun", "PlottedPanel", "ReportText", "Watch", "gather", "plot", "report_page"]
