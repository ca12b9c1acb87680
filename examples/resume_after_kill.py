"""A trainer that is killed and started again: the second start goes on behind the last checkpoint.

    python examples/resume_after_kill.py [RUNS]      # kills itself in step 130: exit status 137 of your shell
    python examples/resume_after_kill.py [RUNS]      # the same command again: goes on, and ends

You see on the second start how many events survived the SIGKILL: all up to the checkpoint, and those after it but for
what was emitted within the last flush_interval. Then the steps after the checkpoint are done again, and `latest=True`
reads each step exactly once.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import esper_telemetry as et

STEPS, EVERY, KILL_AT = 200, 50, 130


def main(runs: str) -> None:
    """Train from the last checkpoint, if there is one."""
    checkpoint = Path(runs) / "resumed.json"
    first, kill = 0, True
    if checkpoint.exists():
        first, kill = json.loads(checkpoint.read_text())["next_step"], False
        earlier = [event.data["step"] for event in et.read(Path(runs) / "resumed", types="scalars.logged")]
        assert earlier == list(range(len(earlier))), "what survived has no gap"
        print(f"killed in step {KILL_AT}; {len(earlier)} steps are recorded, the checkpoint is of step {first}")

    # The same run_id is the next attempt at that run; torchrun and Slurm give it in ESPER_TELEMETRY_RUN_ID.
    record = et.RecordOptions(flush_interval=0.2)
    where = {"step": first} if first else None
    with et.start_run(runs, name="resumed", run_id="resumed", resumed_from=where, record=record) as run:
        for step in range(first, STEPS):
            time.sleep(0.005)  # the work of a step
            run.log({"loss": 1 / (step + 1)}, step=step)
            if step == KILL_AT and kill:
                os.kill(os.getpid(), signal.SIGKILL)
            if (step + 1) % EVERY == 0:
                run.flush()  # what the checkpoint contains is in the record too
                part = checkpoint.with_suffix(".part")
                part.write_text(json.dumps({"next_step": step + 1}))
                part.replace(checkpoint)

    steps = [event.data["step"] for event in et.read(run.folder, types="scalars.logged", latest=True)]
    assert steps == list(range(STEPS)), "each step once, in order"
    twice = sum(1 for _ in et.read(run.folder, types="scalars.logged")) - STEPS
    print(f"{STEPS} steps are read once each; {twice} of them were done twice\nrecorded in {run.folder}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs")
