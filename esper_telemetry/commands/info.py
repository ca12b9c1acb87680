"""`esper-telemetry info`: what a record holds, from its footers and descriptors."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import (
    FINE,
    INCOMPLETE,
    duration,
    plural,
    print_json,
    print_table,
    print_text,
    printable,
    size,
    warn,
)
from esper_telemetry.commands.reading import files_argument, find_files, json_option, time_format_option
from esper_telemetry.commands.runlisting import (
    attempts_of,
    lasted,
    print_runs,
    result_text,
    results_of,
    run_document,
    runs_of,
    with_run_folders,
)
from esper_telemetry.commands.times import TimeFormat
from esper_telemetry.decode import RunConfiguration, StreamSummary, Summary, summarize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CONFIG_WIDTH = 100  # signs of a configuration that is shown in a line


@click.command
@files_argument
@json_option
@time_format_option
def command(files: tuple[str, ...], as_json: bool, time_format: str) -> int:
    """State what a record holds: the run, its outcome, events by type, bytes and losses. Nothing is scanned.

    Several runs, or a folder of run folders, are a table with a line for each, by time. Exit code 3: something is
    damaged or missing, or a writer is gone without an end.
    """
    summary = summarize(find_files(with_run_folders(files)))
    times = TimeFormat(time_format)
    if as_json:
        print_json(_document(summary, times))
    elif len(summary.run_ids) > 1:
        print_runs(runs_of(summary), times)
    else:
        _print_text(summary, times)
    for warning in summary.warnings:
        warn(warning)
    return INCOMPLETE if summary.warnings else FINE


def _print_text(summary: Summary, times: TimeFormat) -> None:
    streams = summary.streams
    for name, value in _run_facts(", ".join(summary.run_ids), streams, times) if streams else ():
        print_text(f"{name:<10} {printable(value)}")
    if len(streams) > 1:
        print_text()
        head = ("stream", "rank", "outcome", "events", "missing", "segments", "attempt", "size", "host", "pid")
        print_table(head, (_stream_row(stream) for stream in streams))
    print_text()
    counts = summary.events_by_type
    if counts is None:
        closed = all(stream.closed for stream in streams)
        why = "not counted by the collector that stored it" if closed else "not known before the record is closed"
        print_text(f"events by type: {why}; `esper-telemetry stats` counts them")
    else:
        print_table(("events", "type"), ((count, name) for name, count in counts.items()))


def _run_facts(run_id: str, streams: Sequence[StreamSummary], times: TimeFormat) -> Iterator[tuple[str, str]]:
    own = [stream for stream in streams if not stream.parent] or streams
    attempts = attempts_of(streams)
    first = min(attempts[-1], key=lambda stream: (not stream.started, stream.rank))
    started = first.started
    yield "run", run_id
    if first.run_name:
        yield "name", first.run_name
    if started.get("tags"):
        yield "tags", ", ".join(f"{key}={value}" for key, value in started["tags"].items())
    yield "outcome", ", ".join(_outcome(attempt) for attempt in attempts)
    begin = [stream.first_time for stream in streams if stream.first_time is not None]
    if begin:
        yield "started", times.text(min(begin)).strip()
        yield "lasted", duration(sum(map(lasted, attempts)))
    for attempt in attempts if len(attempts) > 1 else ():
        yield "attempt", _attempt_text(attempt, times)
    if started.get("telemetry"):
        yield "level", _level(started["telemetry"])
    if started.get("git"):
        yield "source", _source(started["git"])
    if first.configuration is not None:
        yield "config", _config(first.configuration)
    events, stored, raw = (
        sum(getattr(stream, name) for stream in streams) for name in ("events", "bytes", "raw_bytes")
    )
    yield "events", f"{events:,} in {plural(sum(stream.frames for stream in streams), 'frame')}"
    per_event = f", {stored / events:.1f} bytes an event" if events else ""
    yield "size", f"{size(stored)} ({size(raw)} before compression{per_event})"
    yield "files", f"{plural(sum(len(stream.segments) for stream in streams), 'segment')}, {_closed(own)}"
    children = [stream for stream in streams if stream.parent]
    if children:
        yield "children", _children(children)
    yield "lost", _losses(streams)
    for name, value in results_of(attempts[-1]).items():
        yield "result", f"{name} = {result_text(value)}"


def _attempt_text(streams: Sequence[StreamSummary], times: TimeFormat) -> str:
    """Return when an attempt began, how it ended, and where it went on."""
    begin = min((stream.first_time for stream in streams if stream.first_time is not None), default=None)
    resumed = next((stream.resumed for stream in streams if len(stream.resumed) > 1), {})
    goal = [f"{name.removeprefix('from_')} {value:,}" for name, value in resumed.items() if name.startswith("from_")]
    stated = f"{streams[0].attempt}: {_outcome(streams)} after {duration(lasted(streams))}"
    stated += f", begun {times.text(begin).strip()}" if begin is not None else ""
    return stated + (f", from {', '.join(goal)} on" if goal else "")


def _outcome(streams: Sequence[StreamSummary]) -> str:
    outcomes = list(dict.fromkeys(stream.outcome for stream in streams))
    errors = [stream.finished for stream in streams if "error_type" in stream.finished]
    text = ", ".join(outcomes)
    reasons = dict.fromkeys(stream.finished["reason"] for stream in streams if stream.finished.get("reason"))
    text += f" ({', '.join(reasons)})" if reasons else ""
    if errors:
        stated = (errors[0]["error_type"], errors[0].get("error_message"))
        text += "".join(f": {part}" for part in stated if part)
    return text


def _children(streams: Sequence[StreamSummary]) -> str:
    """Return what became of the child processes that recorded: "8 recorded: 7 ended, 1 cut off"."""
    endings = Counter(stream.outcome for stream in streams)
    return f"{len(streams):,} recorded: {', '.join(f'{count:,} {how}' for how, count in endings.most_common())}"


def _source(git: dict[str, Any]) -> str:
    dirty = "with changes" if git.get("dirty") else ""
    return " ".join(filter(None, (git.get("commit", "")[:12], git.get("branch"), dirty)))


def _config(config: RunConfiguration) -> str:
    """Return the settings of a run in a line: as many as fit, and what marks them all."""
    settings = [f"{name}={value}" for name, value in config.settings.items()]
    line = ", ".join(settings)
    if len(line) > _CONFIG_WIDTH:
        line = line[:_CONFIG_WIDTH].rpartition(", ")[0] or line[:_CONFIG_WIDTH]
        line += ", ..."
    notes = [plural(len(settings), "value"), f"sha256 {(config.sha256 or '?')[:12]}"]
    notes += [f"{len(config.redacted)} redacted"] if config.redacted else []
    notes += ["cut"] if config.cut else []
    return f"{line} ({', '.join(notes)})".strip()


def _level(telemetry: dict[str, Any]) -> str:
    return str(telemetry.get("level", "?")).lower() + (" + lifecycle" if telemetry.get("lifecycle_only") else "")


def _closed(streams: Sequence[StreamSummary]) -> str:
    if all(stream.closed for stream in streams):
        return "closed in good order"
    return "being written" if any(stream.writing for stream in streams) else "not closed: the writer is gone"


def _losses(streams: Sequence[StreamSummary]) -> str:
    """Return what was lost, measured by the numbers; of several streams all together."""
    if len(streams) == 1:
        return streams[0].losses
    missing = sum(stream.missing for stream in streams)
    given = missing + sum(stream.events for stream in streams)
    causes: Counter[str] = Counter()
    for stream in streams:
        causes.update(stream.causes)
    stated = ", ".join(f"{cause} {count:,}" for cause, count in causes.most_common())
    return f"{missing:,} of {plural(given, 'event')}" + (f"; the run states: {stated}" if stated else "")


def _stream_row(stream: StreamSummary) -> tuple[object, ...]:
    return (
        stream.stream,
        stream.rank,
        stream.outcome,
        stream.events,
        stream.missing,
        len(stream.segments),
        stream.attempt,
        size(stream.bytes),
        stream.host,
        str(stream.pid),
    )


def _document(summary: Summary, times: TimeFormat) -> dict[str, Any]:
    return {
        "runs": summary.run_ids,
        "files": summary.paths,
        "events_by_type": summary.events_by_type,
        "by_run": [run_document(run, times) for run in runs_of(summary)],
        "streams": [_stream_document(stream, times) for stream in summary.streams],
        "warnings": summary.warnings,
    }


def _stream_document(stream: StreamSummary, times: TimeFormat) -> dict[str, Any]:
    plain = {name: getattr(stream, name) for name in StreamSummary.__slots__}
    for name in ("first_time", "last_time"):
        plain[name] = None if plain[name] is None else times.json(plain[name])
    config = stream.configuration
    return {"outcome": stream.outcome, "configuration": config and asdict(config), **plain}
