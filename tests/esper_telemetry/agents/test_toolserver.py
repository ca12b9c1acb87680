"""The server of tools as an assistant starts it: a process of its own, spoken to by the official SDK over stdio."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from esper_telemetry import events

pytest.importorskip("mcp")
TOOLS = {"list_runs", "run_summary", "run_panel", "run_events", "run_schema", "query_runs"}


@pytest.fixture
def ask(record_run, tmp_path):
    """A function that runs `work(client)` against the server of a folder with one run."""
    from mcp.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    record_run(lambda run: run.emit(events.ScalarLogged, name="loss", value=0.5, step=1), name="asked")
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "esper_telemetry", "mcp", str(tmp_path / "runs")], cwd=str(tmp_path)
    )

    def run(work):
        async def talk():
            async with Client(stdio_client(server)) as client:
                return await work(client)

        return asyncio.run(talk())

    return run


def test_each_tool_is_described_and_only_reads(ask):
    async def work(client):
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in ask(work)}
    assert set(tools) == TOOLS
    for tool in tools.values():
        assert tool.annotations.read_only_hint is True
        assert tool.description
    assert tools["run_panel"].input_schema["required"] == ["run", "panel"]


def test_an_assistant_finds_a_run_its_figures_and_its_rows(ask):
    async def work(client):
        listed = (await client.call_tool("list_runs", {})).structured_content
        key = listed["runs"][0]["key"]
        panel = await client.call_tool("run_panel", {"run": key, "panel": "scalars"})
        rows = await client.call_tool("query_runs", {"sql": 'SELECT value FROM "scalar.logged"', "runs": [key]})
        return panel.structured_content, rows.structured_content

    panel, rows = ask(work)
    assert panel["figures"][0]["lines"][0]["points"][0][:2] == [1, 0.5]
    assert rows["rows"] == [[0.5]]


def test_an_error_tells_the_assistant_what_to_do_and_the_server_goes_on(ask):
    async def work(client):
        failed = await client.call_tool("run_summary", {"run": "nope"})
        return failed, await client.call_tool("run_summary", {"run": "asked"})

    failed, good = ask(work)
    assert failed.is_error
    assert "there is no run 'nope'; list_runs gives the keys" in failed.content[0].text
    assert good.structured_content["name"] == "asked"


def test_the_end_of_its_input_ends_it(record_run, tmp_path):
    record_run()
    command = [sys.executable, "-m", "esper_telemetry", "mcp", str(tmp_path / "runs")]
    finished = subprocess.run(command, input=b"", capture_output=True, check=False, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == b"", "stdout belongs to the protocol"
