"""Which values are secrets, judged by their names, and what is recorded in their place.

A name is split at `_`, `-`, `.` and where camelCase starts a word. Its value is a secret if the last word is token,
secret, password, passwd, passphrase or credential, or key after api, access, private or secret. Plurals are counts or
lists of ordinary things (`max_new_tokens`), and so are numbers and truth values (`pad_token_id=0`); an empty text hides
nothing. Patterns of the user's own hide values of every kind. In texts of any name the password of a URL is hidden,
and what is assigned to a secret's name (`--model-args repo=a,token=b`, a JSON text). Pure: texts and trees in, the
same without secrets and the places of what was hidden out.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from esper_telemetry.facts.plainscalar import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REDACTED = "[redacted]"

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")
_LAST = frozenset({"token", "secret", "password", "passwd", "passphrase", "credential"})
_BEFORE_KEY = frozenset({"api", "access", "private", "secret"})
_JOINED = frozenset({"apikey", "accesskey", "privatekey", "secretkey"})  # written without anything between the words
# A tokenizer's special tokens ("</s>") are public, and no two runs can be compared without them.
_SPECIAL_TOKENS = frozenset({"bos", "cls", "eos", "image", "mask", "pad", "sep", "unk"})

# Of a URL: the scheme, the user, and the password, which may hold an @ that should have been quoted. The scheme is
# bounded, because every dot of a long text could begin one.
_URL = re.compile(r"""\b([A-Za-z][A-Za-z0-9+.\-]{0,20}://)([^/\s:@?#"']{0,256}):([^/\s?#"']+)@""")
# "https://ghp_...@host": a user without a password is the secret itself where the scheme is the web's.
_WEB_USER = re.compile(r"\b(https?://)([^/\s:@?#]+)@", re.IGNORECASE)
# name=value, name:value or "name": "value" inside a text, but no "name: value", which prose has as well.
_ASSIGNED = re.compile(
    r"""(?<![\w.\-])([\w.\-]+)(["']\s*:\s*|\s*=\s*|:)"""
    r"""("(?:[^"\\]|\\.)*(?:"|\\?$)|'(?:[^'\\]|\\.)*(?:'|\\?$)|[^\s,;&"'{\[][^\s,;&"'}\]]*)"""
)
_OPTION = re.compile(r"[-+~]*([^\W\d][\w.\-/@:]*)=(.*)", re.DOTALL)
_FLAG = re.compile(r"--?([^\W\d][\w.\-]*)")
_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_LONGEST_NUMBER = 64
_NO_TEXT = frozenset({"true", "false", "none", "null", "yes", "no"})


class Redaction:
    """What is hidden, by the SDK's rule and by patterns of the user's own.

    Attributes:
        places: where something was hidden so far: "argv[3]", "config.optim.api_key".
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        """Take patterns like those of shells, which names match as a whole or by their last part; case is ignored."""
        self._patterns = [pattern.lower() for pattern in patterns]
        self.places: list[str] = []

    def argv(self, arguments: Sequence[str], place: str = "argv") -> list[str]:
        """Return a command line without secrets: `--hf-token=x`, `--hf-token x`, `hf_token=x`, and as in `text`."""
        shown: list[str] = []
        announced = ""
        for index, argument in enumerate(arguments):
            is_value = not argument.startswith("-") and self._hides_text(announced, argument, typed=False)
            hidden = REDACTED if is_value else self._argument(argument)
            flag = _FLAG.fullmatch(argument)
            announced = flag[1] if flag is not None else ""
            if hidden != argument:
                self.places.append(f"{place}[{index}]")
            shown.append(hidden)
        return shown

    def _argument(self, argument: str) -> str:
        option = _OPTION.fullmatch(argument)
        if option is not None and self._hides_text(option[1], option[2], typed=False):
            return argument[: option.start(2)] + REDACTED
        return self._text(argument)

    def tree(self, value: Any, place: str, name: str = "") -> Any:
        """Return a tree of plain values without secrets; the items of a list bear its name.

        Args:
            value: as `PlainConfig` makes it.
            place: its name for `places`.
            name: its name as the rule sees it, with those above it.
        """
        if name and self._is_own(name) and value not in (None, "", {}, []):
            return self._hidden(place)
        if isinstance(value, dict):
            dots = f"{name}." if name else ""
            return {key: self.tree(item, f"{place}.{key}", dots + key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.tree(item, f"{place}[{index}]", name) for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        if value == SECRET or self._hides_text(name, value, typed=True):
            return self._hidden(place)
        text = self._text(value)
        if text != value:
            self.places.append(place)
        return text

    def _hidden(self, place: str) -> str:
        self.places.append(place)
        return REDACTED

    def _hides_text(self, name: str, text: str, *, typed: bool) -> bool:
        """Tell whether a text is a secret.

        Args:
            name: of the value; empty for none.
            text: the value.
            typed: it was a text for its owner. On a command line everything is: there a truth value is none, and a
                number none for a token, which is counted as often as it is kept secret.
        """
        if not text or not name or text == REDACTED:
            return False
        if self._is_own(name):
            return True
        if not is_secret_name(name):
            return False
        if typed or len(text) > _LONGEST_NUMBER:
            return True
        return not (text.lower() in _NO_TEXT or (_NUMBER.fullmatch(text) and words(name)[-1] == "token"))

    def _text(self, text: str) -> str:
        """Return a text without passwords in URLs and without what it assigns to secret names."""
        if "://" in text:
            text = _WEB_USER.sub(rf"\1{REDACTED}@", _URL.sub(rf"\1\2:{REDACTED}@", text))
        return _ASSIGNED.sub(self._assigned, text) if "=" in text or ":" in text else text

    def _assigned(self, found: re.Match[str]) -> str:
        name, sign, value = found.groups()
        quote = value[0] if value[0] in "\"'" else ""
        hides = self._hides_text(name, value.strip("\"'"), typed=False)
        return f"{name}{sign}{quote}{REDACTED}{quote}" if hides else found[0]

    def _is_own(self, name: str) -> bool:
        names = (name.lower(), re.split(r"[./]", name.lower())[-1])
        forms = {form for one in names for form in (one, one.replace("-", "_"))}
        return any(fnmatchcase(form, pattern) for pattern in self._patterns for form in forms)


def is_secret_name(name: str) -> bool:
    """Tell whether a name is that of a secret."""
    found = words(name)
    if not found:
        return False
    before = found[-2] if len(found) > 1 else ""
    if found[-1] == "token":
        return before not in _SPECIAL_TOKENS
    return found[-1] in _LAST or found[-1] in _JOINED or (found[-1] == "key" and before in _BEFORE_KEY)


def words(name: str) -> list[str]:
    """Return the words of a name, less a number at its end: "hfToken", "hf-token", "HF_TOKEN2" are hf and token."""
    found = [word.lower() for word in _WORDS.findall(name)]
    while len(found) > 1 and found[-1].isdigit():  # "api_key_2" is as secret as the first
        found.pop()
    return found
