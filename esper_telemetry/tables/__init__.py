"""ASK it: records as Arrow tables and SQL views, without a Python object for an event. Records are read, never written.

Columns, names and types are decided by the schema of all runs together, never by the values of one. Needs the extra
`query`.

`esper_telemetry.tables` is this package and a function: `esper_telemetry.tables(runs)` gives all tables of runs.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import MissingExtraError

try:
    import pyarrow as pa  # noqa: TC002 - whether it is installed is the question
except ModuleNotFoundError as error:
    if error.name != "pyarrow":
        raise
    raise MissingExtraError("the package 'pyarrow', which tables need,", "query") from None

from esper_telemetry.tables.layouts import TableLayout
from esper_telemetry.tables.opening import RecordWarning
from esper_telemetry.tables.sql import Views, query
from esper_telemetry.tables.table import Scan, scan, table, tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.tables.opening import Runs, TypeName

__all__ = ["RecordWarning", "Scan", "TableLayout", "Views", "query", "scan", "table", "tables"]


class _CallablePackage(ModuleType):
    """Lets the name of the package be the function too: importing a submodule binds its name in the parent package."""

    def __call__(
        self, runs: Runs, types: TypeName | Iterable[TypeName] | None = None, **choice: Any
    ) -> dict[str, pa.Table]:
        return tables(runs, types, **choice)


sys.modules[__name__].__class__ = _CallablePackage
