"""Types of event on the command line: a misspelling is refused with what was meant, and nothing is read for it."""

from __future__ import annotations

import pytest

from esper.v1 import seed_pb2
from esper_telemetry.decode import declared_types, survey
from esper_telemetry.decode.declared import DeclaredTypes


@pytest.mark.parametrize("verb", ["cat", "stats", "schema", "tail", "filter", "diff"])
def test_a_misspelt_type_is_refused_with_what_was_meant(cli, record_run, tmp_path, verb):
    folder = record_run()
    more = {"filter": ["-o", tmp_path / "new"], "diff": [folder]}.get(verb, [])
    finished = cli(verb, folder, *more, "--type", "seed.cullled")
    assert finished.code == 1
    assert not finished.out
    assert finished.err == "error: no type seed.cullled in this record; did you mean seed.culled?\n"
    assert not (tmp_path / "new").exists()


def test_a_type_like_no_other_is_refused_with_the_way_to_the_list(cli, record_run):
    finished = cli("cat", record_run(), "--type", "xyzzy.*")
    assert finished.code == 1
    assert finished.err == "error: no type xyzzy.* in this record; esper-telemetry schema lists the types\n"


def test_one_misspelling_beside_a_good_type_is_refused_too(cli, record_run):
    assert cli("cat", record_run(), "--type", "seed.culled", "--type", "sed.*").code == 1


@pytest.mark.parametrize("name", ["seed.*", "esper.v1.SeedCulled", "seed.culled", "run.*", "*"])
def test_short_names_full_names_and_patterns_are_known(record_run, name):
    assert declared_types(survey(record_run())).declares(name)


def cull(run) -> None:
    run.bind(env_id=0, device="cpu", inner_epoch=1, global_epoch=1).emit(seed_pb2.SeedCulled, slot_id="a")


def test_a_type_that_only_another_run_declares_is_no_misspelling(cli, record_run, tmp_path):
    plain = record_run(lambda run: None, folder=tmp_path / "plain", schemas=())
    seeds = record_run(cull, folder=tmp_path / "seeds")
    assert cli("cat", plain, "--type", "seed.culled").code == 1
    finished = cli("cat", plain, seeds, "--type", "seed.culled")
    assert (finished.code, len(finished.lines)) == (0, 1)
    assert cli("diff", plain, seeds, "--type", "seed.culled").code == 0


def test_an_event_by_the_number_of_its_type_brings_no_others_along(cli, record_run):
    finished = cli("cat", record_run(), "--type", "type:9", "--type", "seed.culled")
    assert [line.split("  ")[2] for line in finished.lines] == ["seed.culled"]


def test_follow_waits_for_a_type_that_may_be_declared_later(cli, record_run):
    finished = cli("tail", "-f", record_run(), "--type", "seed.cullled")
    assert finished.code == 0
    assert "no type seed.cullled in this record; did you mean seed.culled?; it is waited for" in finished.err


def test_two_types_with_one_short_name_are_shown_by_their_full_names():
    types = DeclaredTypes({"a.X": "x", "b.X": "x", "c.Y": "y"}, frozenset({"a.X", "b.X"}))
    assert [types.shown(name) for name in ("a.X", "b.X", "c.Y", "d.Z")] == ["a.X", "b.X", "y", "d.Z"]
