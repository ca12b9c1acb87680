"""What a value of a configuration holds: the fields of objects, the items of arrays, known by kind.

Each rule asks for the mark that its kind leaves (`__attrs_attrs__`, `_fields`); what has none has no fields, and is not
searched for some. Arrays are written out where they are small and in the host's own memory.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from esper_telemetry.facts.text import qualified_name

Fields = Iterator[tuple[Any, Callable[[], Any]]]

_MAX_ITEMS = 1000  # of an array that is written out
# Their tables and containers have keys as mappings do, and hold data.
_ARRAY_PACKAGES = frozenset(
    {"cudf", "dask", "h5py", "modin", "numpy", "pandas", "polars", "pyarrow", "torch", "xarray"}
)


def fields_of(value: Any) -> Fields | None:
    """Return names and the means to get their values, or None if `value` has no fields that are known."""
    if _is_namespace(value):
        value = dict(vars(value))
    if isinstance(value, Mapping) or _is_mapping_like(type(value)):
        return ((key, functools.partial(value.__getitem__, key)) for key in list(value))
    names = _names_of(value, type(value))
    return None if names is None else ((name, functools.partial(getattr, value, name)) for name in names)


def _names_of(value: Any, cls: Any) -> Iterable[str] | None:
    if isinstance(value, tuple):
        return tuple(cls._fields) if isinstance(getattr(cls, "_fields", None), tuple) else None
    if isinstance(value, functools.partial):
        return ("func", "args", "keywords")
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(value)]
    if hasattr(cls, "__attrs_attrs__"):
        return [field.name for field in cls.__attrs_attrs__]
    return _pydantic_names(value, cls)


def _is_namespace(value: Any) -> bool:
    """Tell argparse.Namespace, which need not be imported for this, and what is made like it."""
    names = (base.__name__ for base in type(value).__mro__)
    return isinstance(value, types.SimpleNamespace) or ("Namespace" in names and hasattr(value, "__dict__"))


def _pydantic_names(value: Any, cls: Any) -> Iterable[str] | None:
    for mark in ("__pydantic_fields__", "__fields__"):  # of version 2, of version 1
        if isinstance(getattr(cls, mark, None), Mapping):
            return [*getattr(cls, mark), *(getattr(value, "__pydantic_extra__", None) or ())]
    return None


def _is_mapping_like(cls: type) -> bool:
    """Tell a mapping that is not registered as one (ml_collections.ConfigDict) from tables and containers of arrays."""
    package = str(cls.__module__).partition(".")[0]
    names = ("keys", "items", "__getitem__", "__iter__")
    return package not in _ARRAY_PACKAGES and all(hasattr(cls, name) for name in names)


def array_items(value: Any) -> Any:
    """Return the items of a small array in the host's own memory as lists; None for everything else."""
    kind = type(value).__module__, type(value).__name__
    if kind == ("numpy", "ndarray"):
        return value.tolist() if value.size <= _MAX_ITEMS else None
    # A subclass (a fake, distributed or lazy tensor) may have no memory of its own: it is not asked.
    if kind in (("torch", "Tensor"), ("torch.nn.parameter", "Parameter")):
        here = value.device.type == "cpu" and value.numel() <= _MAX_ITEMS
        return value.detach().tolist() if here else None
    return None


def array_mark(value: Any) -> str | None:
    """Return type, dtype and shape of an array, "<torch.Tensor float32[128,64]>", which are had without its items."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if not isinstance(shape, tuple) or dtype is None:
        return None
    sizes = ",".join(str(int(size)) for size in shape)
    return f"<{qualified_name(type(value))} {str(dtype).rpartition('.')[2]}[{sizes}]>"
