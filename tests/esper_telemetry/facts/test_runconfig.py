"""The configuration of a run: plain, without secrets, hashed whole and cut to fit."""

from __future__ import annotations

import hashlib
import json

from esper_telemetry.facts.redaction import REDACTED, Redaction
from esper_telemetry.facts.runconfig import configuration


def test_the_hash_covers_the_redacted_form():
    one, two, other = (configuration({"lr": lr, "hf_token": token}, Redaction()) for lr, token in
                       ((0.1, "a"), (0.1, "b"), (0.2, "a")))  # fmt: skip
    assert one.sha256 == two.sha256 != other.sha256
    text, whole = one.json(1000)
    assert text == f'{{"hf_token":"{REDACTED}","lr":0.1}}'
    assert whole is None
    assert one.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert one.redacted == ("config.hf_token",)


def test_the_hash_is_that_of_the_whole_however_it_was_cut(caplog):
    one, two = (configuration({"text": letter * 5000}, Redaction()) for letter in "ab")
    (text, whole), (other, _) = one.json(1000), two.json(1000)
    assert text == other == '{"text":"<cut: 5,002 bytes>"}'
    assert whole == 5011
    assert one.sha256 != two.sha256
    assert "config takes 5011 bytes" in caplog.text


def test_a_value_that_hides_itself_is_named_among_the_redacted():
    found = configuration({"login": [{"who": "<secret>"}]}, Redaction())
    assert found.values == {"login": [{"who": REDACTED}]}
    assert found.redacted == ("config.login[0].who",)


def test_what_has_no_names_gets_one_and_it_is_said(caplog):
    assert configuration([1, 2], Redaction()).values == {"value": [1, 2]}
    assert configuration("a: 1", Redaction()).values == {"value": "a: 1"}
    assert "config is a list, which has no names" in caplog.text


def test_odd_values_are_said_in_one_warning(caplog):
    configuration({f"o{number}": object() for number in range(8)}, Redaction())
    (record,) = caplog.records
    assert "config.o0 is recorded as <object>" in record.message
    assert record.message.endswith("and 3 more")


def test_a_merge_has_the_hash_of_what_it_became():
    first = configuration({"optim": {"lr": 0.1, "name": "adam"}}, Redaction())
    update = configuration({"optim": {"lr": 0.2}, "seed": 1, "token": "x"}, Redaction())
    merged = first.merged(update)
    whole = configuration({"seed": 1, "token": "y", "optim": {"name": "adam", "lr": 0.2}}, Redaction())
    assert json.loads(merged.json(1000)[0]) == whole.values
    assert merged.sha256 == whole.sha256
    assert merged.redacted == ("config.token",)
