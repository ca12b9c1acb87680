"""The built-in event types, in the order in which every writer of this version numbers them."""

from __future__ import annotations

from esper_telemetry.schema.descriptors import event_classes
from esper_telemetry.schema.event_type import EventType, event_type
from esper_telemetry.v1 import logged_pb2, process_pb2, rl_pb2, run_pb2, steps_pb2, training_pb2

_MODULES = (run_pb2, training_pb2, rl_pb2, logged_pb2, process_pb2, steps_pb2)


def built_in_types() -> list[EventType]:
    """Return the event types of the SDK; a writer gives them the ids 1, 2, 3 and so on."""
    return [event_type(cls) for module in _MODULES for cls in event_classes(module)]


IN_EVERY_RUN = frozenset({"esper_telemetry.v1.RunStarted", "esper_telemetry.v1.RunFinished"})
"""Types that every run emits; the first header of its stream declares them together, which saves a header."""


def is_built_in(full_name: str) -> bool:
    """Tell whether a type is one of the SDK's own, which every reader knows without a record."""
    return full_name.startswith("esper_telemetry.v1.")
