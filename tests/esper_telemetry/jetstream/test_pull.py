"""What is asked for, and when: with a server that is written down here, answer by answer."""

import asyncio
import json
from dataclasses import dataclass

import pytest

from esper_telemetry.errors import SinkError
from esper_telemetry.jetstream import pull as module
from esper_telemetry.jetstream.pull import Pull


@dataclass
class Message:
    data: bytes = b""
    reply: str = ""
    headers: dict | None = None


def status(code: str, text: str = "") -> Message:
    return Message(headers={"Status": code, "Description": text})


class Server:
    """Remembers what was sent to it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, str]] = []
        self.connects = 0

    async def tell(self, subject: str, data: bytes, reply: str) -> None:
        self.sent.append((subject, data, reply))

    def pull(self) -> Pull:
        return Pull(self.tell, lambda: self.connects, "stream", "consumer", "inbox")

    @property
    def asked(self) -> int:
        return sum(json.loads(data)["batch"] for subject, data, _ in self.sent if "MSG.NEXT.stream.consumer" in subject)


def run(scenario):
    return asyncio.run(scenario())


def test_messages_are_handed_out_as_they_come_and_more_are_asked_for_in_time():
    async def scenario():
        server = Server()
        pull = server.pull()
        assert await pull.take(0) == []
        assert (server.asked, server.sent[0][2]) == (64, "inbox")
        came = [Message(b"x", f"r{n}") for n in range(40)]
        for message in came[:10]:
            await pull.heard(message)
        assert await pull.take(0) == came[:10]
        assert server.asked == 64, "54 are still to come"
        for message in came[10:]:
            await pull.heard(message)
        assert await pull.take(0) == came[10:]
        assert server.asked == 128

    run(scenario)


def test_what_a_status_or_a_new_connection_ended_is_asked_for_again():
    async def scenario():
        server = Server()
        pull = server.pull()
        await pull.take(0)
        await pull.heard(status("408", "Request Timeout"))
        await pull.take(0)
        assert server.asked == 128
        server.connects += 1
        await pull.take(0)
        assert server.asked == 192

    run(scenario)


def test_a_question_that_a_killed_server_forgot_is_asked_again(monkeypatch):
    async def scenario():
        server = Server()
        pull = server.pull()
        await pull.take(0)
        await pull.take(0)
        assert server.asked == 64
        monkeypatch.setattr(module, "_LOST_S", -1000)
        await pull.take(0)
        assert server.asked == 128

    run(scenario)


def test_a_consumer_that_is_deleted_or_absent_for_long_is_gone(monkeypatch):
    async def scenario():
        pull = Server().pull()
        await pull.heard(status("409", "Consumer Deleted"))
        with pytest.raises(SinkError, match="another consumer"):
            await pull.take(0)
        pull = Server().pull()
        await pull.heard(status("503"))
        assert await pull.take(0) == [], "an election, perhaps"
        assert not pull.gone
        monkeypatch.setattr(module, "_ABSENT_S", -1)
        await pull.take(0)
        with pytest.raises(SinkError, match="no such consumer"):
            await pull.take(0)

    run(scenario)


def test_an_ack_goes_where_its_message_said():
    async def scenario():
        server = Server()
        await server.pull().ack(["a", "b"])
        assert server.sent == [("a", b"+ACK", ""), ("b", b"+ACK", "")]

    run(scenario)
