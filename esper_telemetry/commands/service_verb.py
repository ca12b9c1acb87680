"""Verbs that run as services: every option is also a key of a TOML file and an environment variable.

What is given on the command line counts most, then the environment, then the file, then the default. Any value of the
file may be told from elsewhere, which keeps secrets out of it: `key = {file = "PATH"}`, `key = {env = "NAME"}`; and an
environment variable whose name ends in _FILE names a file that holds the value. Paths in the file are relative to it.
A key that is not known, or a value of a wrong kind, is an error that names both: nothing starts half configured.
"""

from __future__ import annotations

import os
import tomllib
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from esper_telemetry.commands.output import FAILED, FINE
from esper_telemetry.daemon.logs import FORMS, LEVELS, start_logging
from esper_telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TABLES = "esper_telemetry.tables"
_ORIGINS = "esper_telemetry.origins"
NOT_KEYS = frozenset({"config", "print_config", "check", "help"})
"""Options that steer one call; they are no settings."""
_WRITTEN = {ParameterSource.COMMANDLINE: "command line", ParameterSource.ENVIRONMENT: "environment"}


class ServiceVerb(click.Command):
    """A verb with --config, --print-config, --log and --log-level beside its own options.

    Args:
        *arguments: as click.Command.
        tables: arrays of tables that the file may hold beside the options' keys; `file_tables` returns them.
        **options: as click.Command.
    """

    def __init__(self, *arguments: Any, tables: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tables = tables
        self.params += [
            click.Option(["--log", "log_form"], type=click.Choice(FORMS), default="text", show_default=True,
                         help="Form of the log on stderr: one line a fact."),
            click.Option(["--log-level"], type=click.Choice(LEVELS), default="info", show_default=True,
                         help="The least that is logged."),
            click.Option(["--config"], type=click.Path(path_type=Path), is_eager=True, callback=_load,
                         help="TOML file with a key for each option; what is given here counts more."),
            click.Option(["--print-config"], is_flag=True, help="Print the settings as they would hold, and end."),
        ]  # fmt: skip
        for option in self.params:
            if option.name not in NOT_KEYS or option.name == "config":
                option.envvar = self._variable(option)

    def _variable(self, option: click.Parameter) -> str:
        return f"ESPER_TELEMETRY_{self.name}_{key_of(option)}".upper()

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, or print its settings; an error that ends it is a line of the log where that is JSON."""
        ctx.params.pop("config", None)
        form, level = ctx.params.pop("log_form"), ctx.params.pop("log_level")
        if ctx.params.pop("print_config"):
            click.echo("\n".join(_effective(ctx, {**ctx.params, "log_form": form, "log_level": level})))
            return FINE
        with _errors_as(form):
            start_logging(form, level)
            return super().invoke(ctx)


def file_tables(name: str) -> list[dict[str, Any]]:
    """Return the tables `[[name]]` of the present verb's configuration file, unchecked; empty without one."""
    tables: list[dict[str, Any]] = click.get_current_context().meta.get(_TABLES, {}).get(name, [])
    return tables


def key_of(option: click.Parameter) -> str:
    """Return the key of an option: its longest flag without dashes, with _ between words."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


@contextmanager
def _errors_as(form: str) -> Iterator[None]:
    try:
        yield
    except TelemetryError as error:
        if form != "json":
            raise
        import logging

        logging.getLogger("esper_telemetry").critical("%s", error, extra={"error": type(error).__name__})
        raise click.exceptions.Exit(FAILED) from None


def _options(ctx: click.Context) -> dict[str, click.Parameter]:
    return {key_of(option): option for option in ctx.command.params if option.name not in NOT_KEYS}


def _load(ctx: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Make what the file and the variables ending in _FILE hold the defaults of the options."""
    known, defaults, origins = _options(ctx), {}, {}
    try:
        if path is not None:
            for key, value in _content(path, ctx, known).items():
                defaults[key], origins[key] = _resolved(value, key, path)
                defaults[key] = _typed(defaults[key], known[key], f"{path}: {key}", path.parent)
        for key, each in known.items():
            variable = f"{each.envvar}_FILE"
            if os.environ.get(variable):
                defaults[key] = _typed(_first_line(os.environ[variable], variable), each, variable, Path())
                origins[key] = f"{{file = {_toml(os.environ[variable])}}}"
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, option) from None
    ctx.default_map = {str(known[key].name): value for key, value in defaults.items()}
    ctx.meta[_ORIGINS] = {str(known[key].name): origin for key, origin in origins.items()}
    return path


def _content(path: Path, ctx: click.Context, known: Mapping[str, click.Parameter]) -> dict[str, Any]:
    """Return what a file holds by key, its tables put aside.

    Raises:
        ValueError: it cannot be read, is no TOML, or has a key that is not known.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no TOML: {error}") from None
    tables = {name: content.pop(name) for name in getattr(ctx.command, "tables", ()) if name in content}
    for name, value in tables.items():
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise ValueError(f"{path}: {name} is no list of tables; write [[{name}]]")
    ctx.meta[_TABLES] = tables
    found: dict[str, Any] = {}
    for name, value in content.items():
        key = name.replace("-", "_")
        if key not in known:
            near = get_close_matches(key, [*known, *getattr(ctx.command, "tables", ())], 1)
            hint = f"did you mean {near[0]}?" if near else "--print-config lists the keys"
            raise ValueError(f"{path}: there is no key {name!r}; {hint}")
        if key in found:
            raise ValueError(f"{path}: {key} is there twice, once with - and once with _")
        found[key] = value
    return found


def _resolved(value: Any, key: str, path: Path) -> tuple[Any, str]:
    """Return a value and where it came from, written as TOML; a table names the place that holds it.

    Raises:
        ValueError: the place cannot be read, or is none.
    """
    if not isinstance(value, dict):
        return value, ""
    where = f"{path}: {key}"
    if set(value) == {"file"} and isinstance(value["file"], str):
        return _first_line(path.parent / value["file"], where), f"{{file = {_toml(value['file'])}}}"
    if set(value) == {"env"} and isinstance(value["env"], str):
        if value["env"] not in os.environ:
            raise ValueError(f"{where}: the environment has no variable {value['env']}")
        return os.environ[value["env"]], f"{{env = {_toml(value['env'])}}}"
    raise ValueError(f'{where}: is a table; give a value, {{file = "PATH"}} or {{env = "NAME"}}')


def _first_line(path: str | Path, where: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: {path} cannot be read: {error}") from None
    if "\n" in text or not text:
        raise ValueError(f"{where}: {path} has to hold one line, the value alone")
    return text


def _typed(value: Any, option: click.Parameter, where: str, folder: Path) -> Any:
    """Return a value as its option takes it: numbers and truth values are what TOML calls so, or text of them.

    Raises:
        ValueError: it is of another kind.
    """
    wanted = option.type
    is_flag = getattr(option, "is_flag", False)
    number = isinstance(wanted, click.types.FloatParamType) or isinstance(value, int)
    number = number and isinstance(wanted, (click.types.IntParamType, click.types.FloatParamType))
    fits = isinstance(value, str) or (
        isinstance(value, bool)
        if is_flag
        else number and isinstance(value, (int, float)) and not isinstance(value, bool)
    )
    if not fits:
        raise ValueError(f"{where}: {value!r} is of the wrong kind: {wanted.name} is wanted")
    try:
        converted = wanted.convert(value, option, None)
    except click.BadParameter as error:
        raise ValueError(f"{where}: {error.message}") from None
    if isinstance(wanted, click.Path):
        return str(folder / value)
    return converted


def _effective(ctx: click.Context, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings as TOML, each with where it came from; what has no value is a comment."""
    origins = ctx.meta.get(_ORIGINS, {})
    for key, option in sorted(_options(ctx).items()):
        name = str(option.name)
        source = ctx.get_parameter_source(name)
        origin = origins.get(name, "") if source is ParameterSource.DEFAULT_MAP else ""
        where = _WRITTEN.get(source, "default") if source is not None else "default"
        if source is ParameterSource.DEFAULT_MAP:
            where = "file" if name in origins else "default"
        value = values.get(name)
        if value is None or value == ():
            yield f"# {key} =  # not set"
        else:
            yield f"{key} = {origin or _shown(key, value)}  # {where}"
    for name, tables in ctx.meta.get(_TABLES, {}).items():
        for table in tables:
            yield f"\n[[{name}]]  # file"
            yield from (f"{key} = {_toml(value)}" for key, value in table.items())


def _shown(key: str, value: Any) -> str:
    """Return a value as TOML, without a password that a URL carries."""
    text = str(value)
    if "://" in text and "@" in text:
        import re

        return f"{_toml(re.sub(r'[^/,@]*@', '***@', text))}  # {key} with its user and password left out;"
    return _toml(value)


def _toml(value: Any) -> str:
    """Return a scalar or a list as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (int, float)):
        return repr(value)
    import json

    return json.dumps(str(value), ensure_ascii=False)
