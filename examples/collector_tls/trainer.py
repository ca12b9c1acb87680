"""A trainer that streams its run to a collector over TLS, with a token; prepare.sh has the commands before this one.

    python examples/collector_tls/trainer.py SERVER [ADDRESS] [RUNS]      # needs esper-telemetry[collector]

You see that the trainer ends without waiting for the collector, and then, in the collector's folder, the same events as
in the local record. Stop the collector first and try again: the trainer runs as before, and its agent sends what is
missing when the collector is back.
"""

import sys
import time
import uuid
from pathlib import Path

import esper_telemetry as et

STEPS = 500


def payloads(folder: Path) -> list[bytes]:
    """Return the events of a record, as they were written; none where the collector has only just begun."""
    try:
        return [event.payload for event in et.read(folder)]
    except et.errors.RecordError:
        return []


def main(server: Path, address: str, runs: str) -> None:
    """Train, then wait until the collector has it all, which a trainer never has to."""
    proof = et.StreamOptions(tls_ca=str(server / "tls.crt"), token_file=str(server / "team.token"))
    run_id = f"team-{uuid.uuid4().hex[:8]}"  # the token is good for runs whose ids start with "team-"
    with et.start_run(runs, name="far", run_id=run_id, collector=address, stream=proof) as run:
        for step in range(STEPS):
            run.log({"loss": 1 / (step + 1)}, step=step)
    print(f"the trainer is done, its record is {run.folder}")

    here, stored = payloads(Path(run.folder or "")), server / "collected" / run_id
    while len(payloads(stored)) < len(here):
        time.sleep(0.1)
    assert payloads(stored) == here
    print(f"the collector has the same {len(here)} events: {stored}")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]), given[1] if len(given) > 1 else "localhost:7575", given[2] if len(given) > 2 else "runs")
