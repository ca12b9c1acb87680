"""Run the blocks of a documentation page in their order, and compare or renew what the page shows as their output.

    python tools/docs/page_blocks.py docs/guide.md            run it; print where its outputs differ
    python tools/docs/page_blocks.py --write docs/guide.md    run it, and write what was printed into the page

A `python` block is executed in this process, in one namespace for the whole page; a `text` block that follows it is
what it prints. A block whose first line is a comment with a file name, `# train.py`, is saved under that name and not
executed. In a `console` block each line after `$` is run, and what follows is its output. Other blocks are not run.
Outputs are compared after times, durations, sizes, numbers of frames and random identifiers were replaced
(`comparable`), and `...` in a page matches anything. The verbs of esper-telemetry are called in this process, since
importing them costs most of their time; whatever needs a shell gets one.
"""

from __future__ import annotations

import argparse
import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry.commands import main as esper_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_FILE_NAME = re.compile(r"(?:#|//|--) ([\w./-]+\.\w+)\n")
_EXIT_CODE = "; echo $?"
_NEEDS_SHELL = re.compile(r"[|<>;&$`\\]")
_TIMEOUT_S = 120
_VARYING = (
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)?", "TIME"),
    (r"\b\d{8}[Tt]\d{6}Z", "TIME"),
    (r"\b\d{4}-\d\d-\d\d\b", "DATE"),
    (r"\b\d\d:\d\d:\d\d(?:\.\d+)?", "TIME"),
    (r"-?\b\d[\d,]*(?:\.\d+)?(?:e-?\d+)? ?(?:ns|us|µs|ms|s|min|h)\b", "DURATION"),
    (r"\b\d[\d,]*(?:\.\d+)? ?(?:bytes|B|kB|KiB|MiB|GiB|MB|GB)\b", "SIZE"),
    (r"\bbyte \d[\d,]*|\b\d[\d,]*(?= of its\b)", "OFFSET"),
    (r"\b\d+ frames?\b", "FRAMES"),
    (r"\b[0-9a-f]{6,}\b", "HEX"),
)


class FailedBlockError(Exception):
    """A block of a page raised, or a command ended with another exit code than the page shows."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a block printed, beside what the page shows.

    Attributes:
        command: the command, or the last line of the Python block.
        start: where the shown output begins in the page's text, characters.
        end: where it ends.
        shown: what the page shows.
        printed: what was printed now.
    """

    command: str
    start: int
    end: int
    shown: str
    printed: str

    @property
    def differs(self) -> bool:
        """Whether what was printed is not what the page shows, varying values aside."""
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        same = doctest.OutputChecker().check_output
        return not (
            same(self.shown, self.printed, flags) or same(comparable(self.shown), comparable(self.printed), flags)
        )


def comparable(text: str) -> str:
    """Return a text with times, durations, sizes and random identifiers replaced by a word for each."""
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text)
    return text


def run_page(text: str, folder: Path) -> list[Output]:
    """Run the blocks of a page in a folder; return each output that the page shows.

    Args:
        text: the page.
        folder: an empty folder, the working directory of every block.

    Raises:
        FailedBlockError: a block raised, or a command failed.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    found: list[Output] = []
    printed: tuple[str, str] | None = None  # the last Python block and what it printed
    blocks = list(_BLOCK.finditer(text))
    with contextlib.chdir(folder):
        for at, block in enumerate(blocks):
            language, body = block[1], block[2]
            named = _FILE_NAME.match(body)
            if named is not None:
                Path(named[1]).parent.mkdir(parents=True, exist_ok=True)
                Path(named[1]).write_text(body, encoding="utf-8")
            elif language == "python":
                line = text.count("\n", 0, block.start()) + 1
                printed = body.strip().splitlines()[-1], _executed(body, line, namespace)
                continue
            elif language == "console":
                found += _console(body, block.start(2))
            elif language == "text" and printed and not text[blocks[at - 1].end() : block.start()].strip():
                found.append(Output(printed[0], block.start(2), block.end(2), body, printed[1]))
            printed = None
    return found


def _executed(body: str, line: int, namespace: dict[str, Any]) -> str:
    with _captured() as stream:
        try:
            exec(compile("\n" * line + body, "<page>", "exec"), namespace)  # noqa: S102 - running the page is the purpose
        except Exception as error:
            raise FailedBlockError(f"the Python block at line {line} raised {type(error).__name__}: {error}") from error
    return _plain(stream)


def _console(body: str, offset: int) -> Iterator[Output]:
    for found in _COMMAND.finditer(body):
        command = found[1]
        yield Output(command, offset + found.start(2), offset + found.end(2), found[2], run_command(command))


def run_command(command: str) -> str:
    """Run a command of a console block; return what it printed, standard error included.

    Raises:
        FailedBlockError: its exit code is not 0, and the command does not end with `; echo $?`.
    """
    plain = command.removesuffix(_EXIT_CODE)
    if plain.startswith("esper-telemetry ") and not _NEEDS_SHELL.search(_without_quoted(plain)):
        with _captured() as stream:
            code = esper_telemetry(list(_arguments(plain))[1:])
        output = _plain(stream)
    else:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        finished = subprocess.run(
            ["bash", "-o", "pipefail", "-c", plain],
            env={**os.environ, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
        # A process that a signal ended has a negative code here, and 128 more than the signal in a shell.
        code = finished.returncode if finished.returncode >= 0 else 128 - finished.returncode
        output = _without_folder(finished.stdout)
    if command != plain:
        return f"{output}{code}\n"
    if code:
        raise FailedBlockError(f"{command}: exit code {code}\n{output}")
    return output


def _plain(stream: io.BytesIO) -> str:
    return _without_folder(stream.getvalue().decode())


def _without_folder(printed: str) -> str:
    """Return what was printed with the paths of the temporary folder relative to it."""
    return printed.replace(f"{Path.cwd()}/", "").replace(str(Path.cwd()), ".")


def _without_quoted(command: str) -> str:
    return re.sub(r"'[^']*'", "", command)


def _arguments(command: str) -> Iterator[str]:
    """Yield the words of a command; patterns become the paths that they match, as in a shell."""
    lexer = shlex.shlex(command, posix=False, punctuation_chars=False)
    lexer.whitespace_split = True
    for word in lexer:
        (plain,) = shlex.split(word)
        pattern = plain == word and "*" in plain
        found = sorted(str(path) for path in Path().glob(plain) if path.name[0] != ".") if pattern else []
        yield from found or [plain]


@contextlib.contextmanager
def _captured() -> Iterator[io.BytesIO]:
    """Collect what is printed, standard error in its place between the lines of standard output, as in a terminal."""
    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        yield printed
    stream.detach()


def with_outputs(text: str, outputs: list[Output]) -> str:
    """Return a page in which each output that differs is what was printed now."""
    for output in reversed(outputs):
        if output.differs:
            text = text[: output.start] + output.printed + text[output.end :]
    return text


def main() -> int:
    """Run pages; print differences, or write them into the pages. Return 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="write what was printed into the page")
    arguments = parser.parse_args()
    os.environ["COLUMNS"] = "100"
    failed = 0
    for page in arguments.pages:
        text = page.read_text(encoding="utf-8")
        try:
            with tempfile.TemporaryDirectory() as folder:
                outputs = run_page(text, Path(folder))
        except FailedBlockError as error:
            print(f"{page}: {error}", file=sys.stderr)
            failed = 1
            continue
        changed = [output for output in outputs if output.differs]
        if changed and arguments.write:
            page.write_text(with_outputs(text, outputs), encoding="utf-8")
        for output in changed:
            print(f"{page}: $ {output.command}\n--- the page shows\n{output.shown}--- printed now\n{output.printed}")
        failed |= bool(changed) and not arguments.write
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
