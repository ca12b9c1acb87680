"""What the frameworks' dicts of metrics become: numbers that a run can record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping


def missing(error: ModuleNotFoundError, extra: str) -> MissingExtraError:
    """Return the error for a framework that is not installed; it names the pip install."""
    return MissingExtraError(f"the package {error.name!r}", extra)


def scalar_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are numbers, by name: texts, images and videos are left out.

    A tensor or array of one element on the host is read. One on a device stays as it is, and the run refuses it: to
    read it would make the trainer wait for the device.
    """
    found = {name: _number(value) for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return value
    device = getattr(value, "device", None)
    if device is not None and getattr(device, "type", device) != "cpu":
        return value
    if hasattr(value, "item") and getattr(value, "size", None) is not None:
        elements = value.numel() if hasattr(value, "numel") else value.size
        return value.item() if elements == 1 else None
    return None
