"""Which values are secrets."""

from __future__ import annotations

import pytest

from esper_telemetry.facts.redaction import REDACTED, Redaction, is_secret_name

ORDINARY = (
    "max_new_tokens", "num_key_value_heads", "pad_token_id", "eos_token_id", "pad_token", "eos_token", "mask_token",
    "tokens", "tokens_per_batch", "token_dim", "tokenizer", "tokenizer_name", "use_token_type_ids", "n_tokens",
    "image_token_index", "maxTokens", "key", "keys", "key_dim", "sort_key", "primary_key", "monitor_key", "rng_key",
    "label_key", "key_padding", "secrets", "secret_santa_size", "secretary", "passwords_file", "password_length",
    "passes", "credentials", "credentials_path", "api", "api_version", "api_keys", "access", "access_count", "private",
    "lr",
)  # fmt: skip
SECRET = (
    "token", "hf_token", "hf-token", "HF_TOKEN", "hfToken", "HFToken", "auth.token", "model.hub_token", "apiKey",
    "wandb_api_key", "API_KEY", "apikey", "access_key", "aws_secret_access_key", "ssh-private-key", "secret_key",
    "client_secret", "db_password", "passwd", "user_credential", "api_key_2", "passphrase",
)  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_hides_nothing(name):
    assert not is_secret_name(name)
    redaction = Redaction()
    arguments = [f"--{name}=value", f"--{name}", "value", f"{name}=value"]
    assert redaction.argv(arguments) == arguments
    assert redaction.tree({name: "value"}, "config") == {name: "value"}
    assert redaction.places == []


@pytest.mark.parametrize("name", SECRET)
def test_the_name_of_a_secret_hides_its_value(name):
    redaction = Redaction()
    arguments = [f"--{name}=value", f"--{name}", "value", f"{name}=value", f"+{name}=a b,c"]
    hidden = [f"--{name}={REDACTED}", f"--{name}", REDACTED, f"{name}={REDACTED}", f"+{name}={REDACTED}"]
    assert redaction.argv(arguments) == hidden
    assert redaction.places == ["argv[0]", "argv[2]", "argv[3]", "argv[4]"]
    assert redaction.tree({name: "value"}, "config") == {name: REDACTED}
    assert redaction.places[-1] == f"config.{name}"


@pytest.mark.parametrize("value", [0, 1.5, True, False, None, "", [], {}])
def test_numbers_truth_values_and_nothing_are_no_secrets(value):
    redaction = Redaction()
    assert redaction.tree({"token": value}, "config") == {"token": value}
    assert redaction.places == []


def test_a_number_on_the_command_line_is_a_count_of_tokens_but_may_be_a_password():
    redaction = Redaction()
    arguments = ["--image-token=32000", "--next-token", "5", "--use-token=True", "--password=1234", "--passwd", "99"]
    shown = [
        "--image-token=32000",
        "--next-token",
        "5",
        "--use-token=True",
        f"--password={REDACTED}",
        "--passwd",
        REDACTED,
    ]
    assert redaction.argv(arguments) == shown


def test_a_flag_takes_no_option_for_its_value():
    arguments = ["--use-api-key", "--epochs", "3"]
    assert Redaction().argv(arguments) == arguments


def test_secrets_are_found_in_lists_and_objects_inside():
    redaction = Redaction()
    tree = {"envs": [{"url": "x", "password": "y"}], "api_key": ["one", "two"], "credential": {"user": "me", "port": 1}}
    assert redaction.tree(tree, "config") == {
        "envs": [{"url": "x", "password": REDACTED}],
        "api_key": [REDACTED, REDACTED],
        "credential": {"user": "me", "port": 1},
    }
    assert redaction.places == ["config.envs[0].password", "config.api_key[0]", "config.api_key[1]"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://me:pw@host/db", f"postgres://me:{REDACTED}@host/db"),
        ("redis://:p@ss@host:6379", f"redis://:{REDACTED}@host:6379"),
        ("https://ghp_abc@github.com/x.git", f"https://{REDACTED}@github.com/x.git"),
        ("https://host/x?lr=1&token=abc&n=2", f"https://host/x?lr=1&token={REDACTED}&n=2"),
        ("ssh://git@host/x.git", "ssh://git@host/x.git"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("repo=a,token=abc,revision=main", f"repo=a,token={REDACTED},revision=main"),
        ('{"api_key": "a b", "lr": 1}', f'{{"api_key": "{REDACTED}", "lr": 1}}'),
        ("{'password': 'it''s', 'n': 1}", f"{{'password': '{REDACTED}''s', 'n': 1}}"),
        ('lr=1 token="not ended', f'lr=1 token="{REDACTED}"'),
        ("{token:abc,n:1}", f"{{token:{REDACTED},n:1}}"),
        ("Name the token: it stands for a word.", "Name the token: it stands for a word."),
        ("max_tokens=512,use_token=true", "max_tokens=512,use_token=true"),
        ("C:\\data\\x", "C:\\data\\x"),
    ],
)
def test_secrets_inside_a_text_are_hidden_and_the_rest_stays(text, shown):
    redaction = Redaction()
    assert redaction.argv([text]) == [shown]
    assert redaction.tree({"x": text}, "config") == {"x": shown}
    assert redaction.places == (["argv[0]", "config.x"] if shown != text else [])


@pytest.mark.parametrize(
    "text",
    [
        "://" + "a." * 300_000,
        "token=" + "1" * 300_000 + "x",
        "a=" + "a-" * 300_000,
        "x" + " " * 300_000 + "y=1",
        'token="' + "\\" * 300_000,
        "http://" + "a:" * 300_000,
    ],
    ids=lambda text: text[:8],
)
def test_a_long_text_of_any_kind_is_looked_through_once(text):
    # Looked through many times over, it would not end before the time limit of a test.
    assert Redaction().tree({"x": text}, "config").keys() == {"x"}


def test_patterns_of_the_users_own_hide_values_of_every_kind():
    redaction = Redaction(["internal_*", "db.host"])
    tree = {
        "internal_ids": [1, 2],
        "Internal_Rate": 0.5,
        "db": {"host": "h", "port": 1},
        "host": "h",
        "internal_none": None,
    }
    assert redaction.tree(tree, "config") == {
        "internal_ids": REDACTED,
        "Internal_Rate": REDACTED,
        "db": {"host": REDACTED, "port": 1},
        "host": "h",
        "internal_none": None,
    }
    assert redaction.argv(["--internal-rate=5", "db.host=h", "--internal-rate", "5"]) == [
        f"--internal-rate={REDACTED}", f"db.host={REDACTED}", "--internal-rate", REDACTED,
    ]  # fmt: skip
