"""KNOW it: what a run records of itself: its program, machine and source tree, and its configuration without secrets.

Values in, messages out. Nothing here knows a run, a thread or a device; nothing is started, imported or asked for its
repr, and no fact can stop a run: what cannot be had is left out.
"""

from esper_telemetry.facts.redaction import REDACTED, Redaction
from esper_telemetry.facts.runconfig import Configuration, configuration
from esper_telemetry.facts.started import run_configured, run_started
from esper_telemetry.facts.text import qualified_name, text_of, type_name, utf8_text

__all__ = [
    "REDACTED",
    "Configuration",
    "Redaction",
    "configuration",
    "qualified_name",
    "run_configured",
    "run_started",
    "text_of",
    "type_name",
    "utf8_text",
]
