"""The order of the files: those that take long are begun first, so that no worker ends with one of them alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

TESTS = Path(__file__).resolve().parent
# More than ten seconds of a processor or of waiting each, the longest first; a file that is not named runs later.
LONG = (
    "test_examples.py",
    "scripts/test_train.py",
    "integration/test_workers.py",
    "simic/test_training_levels.py",
    "integration/test_packaging.py",
    "esper_telemetry/commands/test_folders.py",
    "simic/test_vectorized_records.py",
    "simic/test_training.py",
    "integration/test_questions.py",
    "esper_telemetry/uplink/test_sender.py",
    "esper_telemetry/uplink/test_kills.py",
    "simic/test_vectorized_truth.py",
    "simic/test_vectorized_levels.py",
    "simic/test_vectorized_accelerator.py",
    "esper_telemetry/collector/test_server.py",
    "esper_telemetry/jetstream/test_consumer.py",
    "integration/test_golden_run.py",
    "integration/test_interrupted.py",
    "integration/test_reentered.py",
    "esper_telemetry/counters/test_matrix.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of long files to the front, each file's in their order; xdist hands files out in this order."""
    places = {TESTS / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))
