"""The command itself: finds verbs, imports only the one that is asked for, and turns errors into words and codes."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import fail, note
from esper_telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = "esper-telemetry"
INTERRUPTED = 130

# `import` is import_.py.
# Each verb is the module of that name; `command` in it is the click command. The text is what --help lists.
VERBS = {
    "info": "what a record holds, without reading all of it",
    "cat": "print the events",
    "tail": "print the last events, and with -f those being written",
    "stats": "count events, bytes and values by type and field",
    "schema": "what the events of a record mean: fields, units, comments",
    "query": "ask in SQL, over one record or many",
    "export": "write records as Parquet, Arrow, CSV, JSON lines, TensorBoard, MCAP, Perfetto or OTLP",
    "import": "old runs of TensorBoard, JSON lines or CSV as records",
    "diff": "compare two runs: settings, results, events, numbers",
    "filter": "write the events that are wanted to a new record",
    "merge": "join segments, ranks or files into one record",
    "compact": "rewrite closed records into full frames, a third smaller or more",
    "verify": "check everything that a record states",
    "recover": "save what is whole of a damaged record",
    "report": "write the panels of runs as one HTML file",
    "check": "judge runs by rules: exit 4 with what fired",
    "ui": "show runs in a browser: live, stored, compared, replayed",
    "top": "watch runs in a terminal",
    "watch": "judge a run by rules while it goes on",
    "mcp": "offer the runs of a folder to an assistant as tools",
    "completion": "print the completion script of a shell",
    "push": "send records to a collector",
    "collect": "receive the records of many runs",
    "runs": "list the runs of a folder or at a collector, and delete those at a collector",
    "rm": "delete runs on this machine, by name or by age",
    "consume": "store what the gateways of a collector put into a message log",
    "health": "ask a collector whether it serves",
}

# Verbs under their former names: they work, and one line on stderr names the new one.
RENAMED = {"record": "consume"}


class Verbs(click.Group):
    """The verbs, imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb called `cmd_name`."""
        del ctx
        if cmd_name in RENAMED:
            note(f"{PROGRAM} {cmd_name} is now called {PROGRAM} {RENAMED[cmd_name]}")
            cmd_name = RENAMED[cmd_name]
        if cmd_name not in VERBS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = import_module(f"esper_telemetry.commands.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; one that does not exist is refused with those that may have been meant."""
        name = args[0] if args else ""
        if name and name not in VERBS and name not in RENAMED and not name.startswith("-"):
            meant = get_close_matches(name, VERBS, 2)
            hint = f"did you mean {' or '.join(meant)}?" if meant else "esper-telemetry --help lists the verbs"
            ctx.fail(f"there is no verb {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; a reader of its output that has had enough, such as head, is no error."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return code


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name=PROGRAM, prog_name=PROGRAM)
def cli() -> None:
    """Read and check records of training runs.

    FILE is a record (*.esr.zst), a run folder, a pattern, or - for standard input.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # records hold any text, whatever the locale is
            reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except (TelemetryError, OSError) as error:
        fail(str(error))
        return 1
    return code if isinstance(code, int) else 0
