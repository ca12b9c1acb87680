"""ASK it, by an assistant: what it may read of runs, and the server of the Model Context Protocol that offers it.

Everything is read-only, and only the runs below one folder can be reached. Needs the extra `mcp`; SQL needs `query`.
"""

from esper_telemetry.agents.runreader import RunReader

__all__ = ["RunReader"]
