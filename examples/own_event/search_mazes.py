"""An event type of your own: declared once with units, emitted without registration, read without its code.

    python examples/own_event/search_mazes.py [RUNS]
    esper-telemetry schema runs/*-mazes-*            # the reference of the event, from the record itself

You see how many mazes had a way, and one event as any reader sees it: names, labels and units are decoded by the schema
that the record carries. `maze/v1/maze.proto` declares the event; `generate.sh` compiled it.
"""

import random
import sys
from collections import deque

from maze.v1 import maze_pb2

import esper_telemetry as et

MAZES, SIDE = 40, 12


def search(walls: set[tuple[int, int]]) -> tuple[int, int | None]:
    """Search breadth first from one corner for the other; return cells visited, and the length of the way if any."""
    waiting, far = deque([(0, 0)]), {(0, 0): 0}
    while waiting:
        x, y = waiting.popleft()
        for cell in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            if cell not in far and cell not in walls and min(cell) >= 0 and max(cell) < SIDE:
                far[cell] = far[x, y] + 1
                waiting.append(cell)
    return len(far), far.get((SIDE - 1, SIDE - 1))


def main(runs: str) -> None:
    """Search mazes, and read the record back."""
    chance, reached = random.Random(0), 0  # noqa: S311 - mazes, not secrets
    cells = [(x, y) for x in range(SIDE) for y in range(SIDE)][1:-1]
    with et.start_run(runs, name="mazes") as run:
        for maze in range(MAZES):
            walls = set(chance.sample(cells, SIDE * SIDE // 3))
            visited, length = search(walls)
            reached += length is not None
            run.emit(
                maze_pb2.MazeSearched,
                episode=maze,  # context that the event requires; without it the event is counted as invalid
                cells_visited=visited,
                path_length=length,  # None is not measured: the field stays unset
                wall_share=len(walls) / SIDE**2,
                end="reached" if length is not None else "walled_in",
            )
    print(f"{reached} of {MAZES} mazes have a way")
    events = list(et.read(run.folder, types="maze.searched"))
    print(f"{events[0].type}: {events[0].data}\nunits: {events[0].units}")
    assert sum(event.data["end"] == "reached" for event in events) == reached
    print(f"recorded in {run.folder}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs")
