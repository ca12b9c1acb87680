"""What a data set holds: its parts, how far each stream was exported, and the moves that a kill may have left undone.

It is one JSON file, replaced as a whole, and the only thing that decides: a part that it does not list is no part. A
name that begins with an underscore is passed over by every engine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from esper_telemetry.exports.target import Target

NAME = "_esper_telemetry.json"
VERSION = 1


@dataclass(slots=True)
class Manifest:
    """The state of a data set.

    Attributes:
        version: of this file.
        by: how it is partitioned: "type", "type,run" or "type,date".
        generation: exports that wrote something.
        folders: full name of the type by folder.
        parts: by folder, its files, relative to the root.
        streams: last number that was exported, by stream.
        schemas: serialized columns by folder, as hex of their Arrow schema.
        moves: files that are whole under a hidden name, and their names.
        removals: files that are no part any more.
    """

    version: int = VERSION
    by: str = "type"
    generation: int = 0
    folders: dict[str, str] = field(default_factory=dict)
    parts: dict[str, list[str]] = field(default_factory=dict)
    streams: dict[str, int] = field(default_factory=dict)
    schemas: dict[str, str] = field(default_factory=dict)
    moves: list[tuple[str, str]] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, target: Target, by: str) -> Manifest:
        """Return the state of a data set; of none, a new one.

        Raises:
            ConfigError: it is of a later version, or partitioned otherwise.
        """
        content = target.read(NAME)
        if content is None:
            return cls(by=by)
        known = json.loads(content)
        if known.get("version", 0) > VERSION:
            raise ConfigError(f"{target.path(NAME)} was written by a later version; upgrade esper-telemetry")
        found = cls(**{**known, "moves": [(one, other) for one, other in known["moves"]]})
        if found.by != by:
            raise ConfigError(
                f"the data set at {target.root} is partitioned by {found.by!r}, not {by!r}; export to another folder"
            )
        return found

    def commit(self, target: Target) -> None:
        """Make what was written a part of the data set: from the first write on, a kill loses nothing."""
        target.write(NAME, json.dumps(asdict(self), separators=(",", ":")).encode())
        self.settle(target)

    def settle(self, target: Target) -> None:
        """Do what a commit still has to do: give parts their names, remove what they replaced."""
        if not self.moves and not self.removals:
            return
        for hidden, name in self.moves:
            if target.exists(hidden):
                target.move(hidden, name)
        for name in self.removals:
            target.remove(name)
        self.moves, self.removals = [], []
        target.write(NAME, json.dumps(asdict(self), separators=(",", ":")).encode())
