"""Lines by stream and label: no rank, attempt or environment overwrites another one."""

from __future__ import annotations

from esper_telemetry import read
from esper_telemetry.v1 import training_pb2
from esper_telemetry.views import Look, RunView, learning
from esper_telemetry.views.policyupdates import PANEL


def test_ranks_and_attempts_have_lines_of_their_own(write_record, tmp_path):
    paths = []
    for rank in range(8):
        for attempt in (1, 2):
            update = training_pb2.PpoUpdateCompleted(lr=rank + attempt / 10), {"batch_idx": attempt}
            path = tmp_path / f"r{rank}a{attempt}.esr.zst"
            header = {"rank": rank, "attempt": attempt, "producer_id": bytes([rank, attempt] * 8)}
            paths.append(write_record([update], path=path, **header))
    view = RunView((PANEL,))
    view.feed(read(paths))
    (series,) = view.panel_figures("ppo").figures
    assert len(series.lines) == 16
    assert {line.name: line.points[0].y for line in series.lines} == {
        f"rank {rank}, attempt {attempt}": rank + attempt / 10 for rank in range(8) for attempt in (1, 2)
    }
    assert not series.gaps


def test_a_line_of_fewer_points_than_measurements_begins_again_with_each_episode(write_record, tmp_path):
    epochs = [
        (
            training_pb2.EpochCompleted(val_accuracy=float(epoch)),
            {"env_id": 0, "episode": episode, "global_epoch": episode + 1, "inner_epoch": epoch},
        )
        for episode in range(4)
        for epoch in range(1, 101)
    ]
    view = RunView((learning.PANEL,))
    view.feed(read(write_record(epochs, path=tmp_path / "epochs.esr.zst")))
    (series,) = view.panel_figures("learning", Look(view.facts, points=60)).figures
    (line,) = series.lines
    assert line.each > 1
    assert [point.x for point in line.points if not point.joined] == [0.01, 1.01, 2.01, 3.01]
