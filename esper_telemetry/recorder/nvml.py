"""Memory and utilisation of NVIDIA devices, from the driver's management library (NVML) by ctypes.

NVML is no part of the CUDA runtime: it makes no context, takes no memory of a device and waits for no kernel. It is
loaded by the thread that asks, so that must be one of the recorder. What a device does not report (a MIG slice knows no
utilisation) is absent; without the library there are no devices.
"""

from __future__ import annotations

import ctypes
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"
_UUID_BYTES = 96
_TEMPERATURE_GPU = 0
_MILLIWATTS = 1000.0


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Nvml:
    """The library, and the devices of this process.

    Args:
        visible: as CUDA_VISIBLE_DEVICES: numbers or UUIDs of the devices to look at; None: all.
        library: name of the shared library.

    Raises:
        OSError: there is no such library, or no driver.
    """

    def __init__(self, visible: str | None = None, library: str = _LIBRARY) -> None:
        self._library = ctypes.CDLL(library)
        if not self._asked("nvmlInit_v2"):
            raise OSError(f"{library}: the driver does not answer")
        self._devices = [(index, uuid, handle) for index, uuid, handle in self._all() if _shown(visible, index, uuid)]

    def samples(self) -> list[dict[str, Any]]:
        """Return an AcceleratorSample, as a dict of its fields, for each device."""
        return [{"index": index, "uuid": uuid, **self._measured(handle)} for index, uuid, handle in self._devices]

    def close(self) -> None:
        """Release the driver."""
        self._asked("nvmlShutdown")

    def _all(self) -> list[tuple[int, str, ctypes.c_void_p]]:
        count = ctypes.c_uint()
        self._asked("nvmlDeviceGetCount_v2", ctypes.byref(count))
        found = []
        for index in range(count.value):
            handle, uuid = ctypes.c_void_p(), ctypes.create_string_buffer(_UUID_BYTES)
            if self._asked("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle)):
                self._asked("nvmlDeviceGetUUID", handle, uuid, ctypes.c_uint(_UUID_BYTES))
                found.append((index, uuid.value.decode("ascii", "replace"), handle))
        return found

    def _measured(self, handle: ctypes.c_void_p) -> dict[str, Any]:
        memory, used, celsius, power = _Memory(), _Utilization(), ctypes.c_uint(), ctypes.c_uint()
        fields: dict[str, Any] = {}
        if self._asked("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory)):
            fields |= {"memory_used_bytes": memory.used, "memory_total_bytes": memory.total}
        if self._asked("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(used)):
            fields["utilization_percent"] = used.gpu
        if self._asked("nvmlDeviceGetTemperature", handle, ctypes.c_uint(_TEMPERATURE_GPU), ctypes.byref(celsius)):
            fields["temperature_celsius"] = celsius.value
        if self._asked("nvmlDeviceGetPowerUsage", handle, ctypes.byref(power)):
            fields["power_w"] = power.value / _MILLIWATTS
        return fields

    def _asked(self, function: str, *arguments: Any) -> bool:
        """Call a function of the library; False if it fails, or if this version of the library has none such."""
        call = getattr(self._library, function, None)
        return call is not None and call(*arguments) == 0


def _shown(visible: str | None, index: int, uuid: str) -> bool:
    """Tell whether CUDA_VISIBLE_DEVICES names a device: by its number, or by the beginning of its UUID."""
    if visible is None:
        return True
    named = [part.strip() for part in visible.split(",")]
    return any(part and (part == str(index) or (not part.isdecimal() and uuid.startswith(part))) for part in named)
