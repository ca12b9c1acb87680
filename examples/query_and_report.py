"""Ask records in SQL, as an Arrow table, and as a report: two runs, one of which is the control of the other.

    python examples/query_and_report.py [RUNS]       # needs esper-telemetry[cli,query]

You see what each learning rate reached, the difference to the control, and the path of a report in HTML that compares
both runs. Nothing is imported into a database first: the record files are what is asked.
"""

import subprocess
import sys
from pathlib import Path

import esper_telemetry as et

BEST = """
SELECT r.name, arg_min(s.step, s.scalars['loss']) AS step, min(s.scalars['loss']) AS loss
FROM scalars.logged s JOIN runs r ON s.run = r.run GROUP BY r.name ORDER BY loss
"""
AGAINST_CONTROL = """
SELECT r.name, r.results['loss'] - c.results['loss'] AS difference
FROM runs r JOIN runs c ON c.control_of = r.run
"""


def train(runs: str, name: str, lr: float, control_of: str | None = None) -> et.Run:
    """Descend on (x - 3)^2 and record each step."""
    with et.start_run(runs, name=name, config={"lr": lr}, control_of=control_of) as run:
        x = 0.0
        for step in range(50):
            x -= lr * 2 * (x - 3)
            run.log({"loss": (x - 3) ** 2}, step=step)
        run.results["loss"] = (x - 3) ** 2
    return run


def main(runs: str) -> None:
    """Train twice, then ask."""
    tried = train(runs, "fast", lr=0.1)
    control = train(runs, "slow", lr=0.01, control_of=tried.run_id)
    folders = [str(tried.folder), str(control.folder)]

    for name, step, loss in et.query(BEST, folders).to_pandas().itertuples(index=False):
        print(f"{name}: best loss {loss:.6f} at step {step}")
    for name, difference in et.query(AGAINST_CONTROL, folders).to_pandas().itertuples(index=False):
        print(f"{name} ends at {difference:+.6f} of its control")

    losses = et.table(folders, "scalars.logged")  # pyarrow; polars and pandas take it without a copy
    print(f"an Arrow table of {losses.num_rows} rows with the columns {', '.join(losses.column_names[-3:])}")

    report = Path(runs) / "report.html"
    command = str(Path(sys.executable).with_name("esper-telemetry"))
    arguments = ["report", *folders, "-o", str(report), "--force"]
    subprocess.run([command, *arguments], check=True, stderr=subprocess.DEVNULL)  # noqa: S603 - our own command
    print(f"report: {report}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs")
