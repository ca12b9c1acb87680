"""`esper-telemetry mcp`: the runs of a folder as tools for an assistant that speaks the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path

import click

from esper_telemetry.commands.output import FINE, note
from esper_telemetry.errors import MissingExtraError

_EPILOG = """The assistant starts this command itself and talks to it over standard input and output; configure
`esper-telemetry mcp /path/of/runs` as a server of type stdio. Tools: list_runs, run_summary, run_panel, run_events,
run_schema, query_runs. Only runs below PLACE can be read, and nothing can be changed."""


@click.command(epilog=_EPILOG)
@click.argument("place", metavar="PLACE", default="runs", type=click.Path(path_type=Path))
def command(place: Path) -> int:
    """Serve the runs of a folder to an assistant: lists, summaries, panels, events, schema, SQL."""
    from esper_telemetry.agents import RunReader

    reader = RunReader(place)
    try:
        from esper_telemetry.agents.toolserver import tool_server
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise MissingExtraError(f"the package {error.name!r}, which the server of tools needs,", "mcp") from None
    note(f"serving {place} over standard input and output (Ctrl-D ends it)")
    tool_server(reader).run()
    return FINE
