"""Who may see the page: under which names, with which token, and what another site may not do."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from esper_telemetry.ui.access import Access, only_here

TOKEN = "secret"  # noqa: S105 - of no server
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens in these tests


def page() -> Starlette:
    return Starlette(routes=[Route("/{name:path}", lambda _: PlainTextResponse("seen"), methods=["GET", "POST"])])


def ask(
    method: str = "GET",
    path: str = "/",
    *,
    host: str = "127.0.0.1",
    token: str = "",
    base: str = "127.0.0.1",
    **options,
):
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(Access(page(), host=host, token=token))
        cookies = options.pop("cookies", None)
        async with httpx.AsyncClient(transport=transport, cookies=cookies, base_url=f"http://{base}:7576") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "127.8.8.8"])
def test_loopback_answers_to_its_own_names(name):
    assert ask(base=name).text == "seen"


@pytest.mark.parametrize("name", ["evil.example", "10.0.0.1", "localhost.evil.example"])
def test_a_foreign_name_that_leads_to_loopback_is_refused(name):
    answer = ask(base=name)
    assert answer.status_code == 421
    assert name in answer.json()["error"]


def test_without_its_token_nothing_is_shown():
    for options in (
        {},
        {"headers": {"authorization": "Bearer wrong"}},
        {"cookies": {"esper_telemetry_token": "wrong"}},
    ):
        answer = ask(token=TOKEN, **options)
        assert answer.status_code == 401
        assert "seen" not in answer.text


def test_the_token_of_the_address_becomes_a_cookie_that_scripts_cannot_read():
    answer = ask(path="/?token=secret&a=b", token=TOKEN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?a=b")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert ask(token=TOKEN, cookies={"esper_telemetry_token": "secret"}).text == "seen"
    assert ask(token=TOKEN, headers={"authorization": "Bearer secret"}).text == "seen"


def test_the_address_with_a_token_leads_nowhere_else():
    answer = ask(path="http://127.0.0.1:7576//evil.example/x?token=secret", token=TOKEN)
    assert answer.headers["location"] == "/evil.example/x"


def test_beyond_loopback_any_name_is_answered_with_the_token():
    assert ask(host=EVERYWHERE, base="box.lab", token=TOKEN, headers={"authorization": "Bearer secret"}).text == "seen"


def test_another_site_can_change_nothing():
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert ask("POST", headers=headers).status_code == 403
    assert ask("POST", headers={"origin": "http://127.0.0.1:7576"}).text == "seen"
    assert ask("POST").text == "seen"


def test_every_answer_holds_the_browser_to_this_site():
    for answer in (ask(), ask(base="evil.example"), ask(token=TOKEN)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["", EVERYWHERE, "::", "example.org", "a b", "[", "999.0.0.1"])
def test_what_is_not_this_machine_alone(host):
    assert not only_here(host)
