"""Who may see the page: names of the host, a token, same-origin writes, and the headers that hold a browser to it.

On loopback the page answers to the names of loopback only, so that no foreign site reaches it under a name of its own
(DNS rebinding). Beyond loopback every request carries a token: first in the address, then in a cookie that scripts
cannot read.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse

from esper_telemetry.errors import ConfigError
from esper_telemetry.wire import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bokeh writes its own <style> elements and draws for ever without them (measured with 3.9.2); scripts are ours alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_READS = frozenset({"GET", "HEAD"})


def only_here(host: str) -> bool:
    """Tell whether a host name or address is this machine's loopback; what is no name of a host is not."""
    name = host.strip("[]").lower()
    try:
        return is_loopback(f"[{name}]:0" if ":" in name else f"{name}:0")
    except ConfigError:
        return False


class Access:
    """Middleware of ASGI around the page.

    Args:
        app: the page.
        host: where it listens.
        token: what every request must carry; empty for none, which is refused beyond loopback by who starts the server.
    """

    def __init__(self, app: ASGIApp, *, host: str, token: str = "") -> None:
        self._app = app
        self._host = host
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if only_here(self._host) and not only_here(host):
            return _problem(421, f"this page answers to localhost, not to {host[:80]!r}; open it under that name")
        if self._token and not self._has_token(headers):
            return self._token_of_address(scope)
        if scope["method"] not in _READS and not _same_origin(headers):
            return _problem(403, "a change was asked for by another site; use the page itself")
        return None

    def _has_token(self, headers: Headers) -> bool:
        given = cookie_parser(headers.get("cookie", "")).get(self._cookie, "")
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        return self._is_token(given) or (scheme.lower() == "bearer" and self._is_token(bearer))

    def _token_of_address(self, scope: Scope) -> ASGIApp:
        """Take the token of the address into a cookie, and the address without it."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if not any(name == "token" and self._is_token(value) for name, value in query):
            return _problem(401, "a token is needed: open the address that the server printed when it started")
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        answer = RedirectResponse("/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else ""), 303)
        answer.set_cookie(
            self._cookie, self._token, httponly=True, samesite="strict", secure=scope["scheme"] == "https"
        )
        return answer

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self._token.encode())

    @property
    def _cookie(self) -> str:
        return "esper_telemetry_token"


def _same_origin(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc == headers.get("host")
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _problem(status: int, text: str) -> ASGIApp:
    return JSONResponse({"error": text}, status)
