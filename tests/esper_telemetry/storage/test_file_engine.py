"""The folder as an engine: claimed by one, put in order, asked how it is."""

import asyncio

import pytest

from esper_telemetry.errors import ConfigError
from esper_telemetry.storage.file_engine import FileEngine
from esper_telemetry.storage.naming import ProducerKey

KEY = ProducerKey("run", b"p" * 16)


def test_a_folder_belongs_to_one_engine_until_it_stops(tmp_path):
    async def scenario():
        first, second = FileEngine(tmp_path), FileEngine(tmp_path)
        await first.start(lambda cycle: None)
        with pytest.raises(ConfigError, match="another collector uses this folder"):
            await second.start(lambda cycle: None)
        await first.stop(1)
        await second.start(lambda cycle: None)
        await second.stop(1)

    asyncio.run(scenario())


def test_it_knows_nothing_beyond_its_process_and_any_stream_may_write(tmp_path):
    engine = FileEngine(tmp_path)
    assert asyncio.run(engine.lookup(KEY)) is None
    assert asyncio.run(engine.restore(KEY)).lane.writes(7)
    assert not engine.elsewhere


def test_its_health_is_that_of_the_disk(tmp_path):
    engine = FileEngine(tmp_path)
    free, problem = asyncio.run(engine.examine(0.0))
    assert 0 < free <= 1
    assert not problem
    assert "of the disk is free, 100.0% must be" in asyncio.run(engine.examine(1.0)).problem
    assert str(tmp_path / "gone") in asyncio.run(FileEngine(tmp_path / "gone").examine(0.0)).problem
