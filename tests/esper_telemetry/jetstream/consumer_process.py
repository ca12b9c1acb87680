"""A consumer that does one thing wrong: `python consumer_process.py MODE ARGUMENT_OF_RECORD...`.

`mute:FILE` tells no watermark while FILE exists, as if it were killed between syncing and telling. `early` tells a
watermark before anything is stored, which is what it must never do.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from esper_telemetry.commands import main
from esper_telemetry.jetstream.connection import JetStream
from esper_telemetry.jetstream.partition import OwnedProducer, Partition


def mute(file: Path) -> None:
    swap = JetStream.swap

    async def silent(self, key, value, revision):
        if key.startswith("state.") and file.exists():  # noqa: ASYNC240 - one look at a local name
            await asyncio.Event().wait()
        return await swap(self, key, value, revision)

    JetStream.swap = silent


def tell_early() -> None:
    store = Partition._store

    early: dict[OwnedProducer, int] = {}

    def later(self, owned, offered) -> None:
        early[owned] = max(early.get(owned, 0), offered.arrival.last_seq)
        self._publish_watermark(owned)
        asyncio.get_running_loop().call_later(0.5, store, self, owned, offered)

    Partition._store = later
    OwnedProducer.stored_seq = property(lambda owned: max(owned.files.numbers.durable_seq, early.get(owned, 0)))


if __name__ == "__main__":
    mode, _, argument = sys.argv[1].partition(":")
    if mode == "mute":
        mute(Path(argument))
    elif mode == "early":
        tell_early()
    sys.exit(main(["consume", *sys.argv[2:]]))
