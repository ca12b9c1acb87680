"""Policy updates: every vital that was measured is a figure, and anomalies are marks with their numbers."""

from __future__ import annotations

from esper_telemetry import read
from esper_telemetry.v1 import training_pb2
from esper_telemetry.views import RunView
from esper_telemetry.views.policyupdates import PANEL


def test_an_anomaly_is_a_mark_with_its_value_and_threshold(write_record):
    path = write_record(
        [
            (training_pb2.PpoUpdateCompleted(entropy=1.0, ratio_max=9.0), {"batch_idx": 4}),
            (
                training_pb2.AnomalyDetected(
                    anomaly="ANOMALY_KIND_RATIO_EXPLOSION", metric="ratio_max", value=9.0, threshold=5.0
                ),
                {"batch_idx": 4},
            ),
        ]
    )
    view = RunView((PANEL,))
    view.feed(read(path))
    shown = view.panel_figures("ppo")
    assert [figure.title for figure in shown.figures] == ["entropy", "importance ratio"]
    (mark,) = shown.figures[0].marks
    assert (mark.x, mark.seq, mark.text) == (4, 2, "ratio_explosion: ratio_max 9, threshold 5")
    assert (shown.footer.events, shown.footer.first_seq, shown.footer.last_seq) == (2, 1, 2)
