"""`esper-telemetry completion`: the script that teaches a shell the verbs, options and types of files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from esper_telemetry.commands.output import FINE

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_ESPER_TELEMETRY_COMPLETE"


@click.command(
    epilog="bash: esper-telemetry completion bash > ~/.local/share/bash-completion/completions/esper-telemetry"
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script for a shell."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    root = ctx.find_root()
    print(found(root.command, {}, root.info_name or "esper-telemetry", _VARIABLE).source())
    return FINE
