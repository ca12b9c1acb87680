"""What a run and an event are in a notebook: names, values, units, and nothing that a browser would obey."""

from __future__ import annotations

from esper_telemetry import events, read, start_run
from esper_telemetry.schema.notebook import notebook_table

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\"'"


def test_a_value_is_text_whatever_it_holds():
    shown = notebook_table(HOSTILE, [(HOSTILE, HOSTILE, HOSTILE), ("long", "x" * 1000, "")])
    assert "<script>" not in shown
    assert shown.isprintable()
    assert "\\x1b[31m\\u202e" in shown
    assert "x" * 401 not in shown


def test_an_event_shows_its_fields_with_units(record_run):
    event = next(one for one in read(record_run()) if one.type == "ppo.update_completed")
    shown = event._repr_html_()
    assert f"ppo.update_completed #{event.seq}" in shown
    assert ">lr</th><td style='text-align:left'>0.0003</td><td style='text-align:left'>1</td>" in shown


def test_a_run_shows_what_it_has_recorded(tmp_path):
    with start_run(tmp_path, name="n") as run:
        run.emit(events.ScalarLogged, name="a", value=1.0)
        run.results["accuracy"] = 0.5
        shown = run._repr_html_()
    assert run.run_id in shown
    assert ">lost</th><td style='text-align:left'>0</td>" in shown
    assert ">accuracy</th>" in shown


def test_a_run_that_is_off_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    with start_run(tmp_path, name="n") as run:
        assert ": off" in run._repr_html_()


def test_what_shows_itself_stays_beside_what_does_not():
    table = notebook_table("t", [("é\u202e", "日本\x07", "µs")])
    assert "é\\u202e" in table
    assert "日本\\x07" in table
    assert "µs" in table
