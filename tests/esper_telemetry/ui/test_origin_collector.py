"""A run at a real collector, from its first event on, while it arrives."""

from __future__ import annotations

import threading

import pytest

import esper_telemetry
from esper_telemetry.decode import Filter
from esper_telemetry.errors import RecordError
from esper_telemetry.ui.listing import CollectorListing
from esper_telemetry.ui.origin import Phase
from esper_telemetry.uplink.client import list_runs
from esper_telemetry.uplink.endpoint import Endpoint
from tests.esper_telemetry.collectorprocess import CollectorProcess, wait_until


@pytest.fixture
def collector(tmp_path):
    process = CollectorProcess(tmp_path / "collected").start()
    yield process
    process.kill()


def listing_of(collector, only: str = "") -> CollectorListing:
    endpoint = Endpoint(collector.address)
    return CollectorListing(collector.address, endpoint, lambda: list_runs(endpoint, only), only=only)


def test_a_run_at_a_collector_is_listed_read_from_its_start_and_followed(collector, tmp_path):
    listing = listing_of(collector)
    assert listing.runs() == []
    with esper_telemetry.start_run(tmp_path / "runs", name="far", collector=collector.address) as run:
        run.emit(esper_telemetry.events.ScalarLogged, name="a", value=1.0, step=1)
        run.flush()
        wait_until(lambda: [facts.events for facts in listing.runs() if facts.events])
        (facts,) = listing.runs()
        assert (facts.run_id, facts.name, facts.outcome, facts.missing) == (run.run_id, "far", "running", None)
        origin = listing.origin(facts.key)
        portions, stop = [], False
        seen = []

        def read() -> None:
            for portion in origin.portions(lambda: stop):
                portions.append(portion)
                seen.extend(portion.events)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        wait_until(lambda: any(event.type == "scalar.logged" for event in seen))
        run.emit(esper_telemetry.events.ScalarLogged, name="a", value=2.0, step=2)
    wait_until(lambda: any(event.type == "run.finished" for event in seen))
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert portions[0].phase is Phase.HISTORY
    wait_until(lambda: portions[-1].phase is Phase.ENDED)
    stop = True
    origin.wake()
    thread.join(20)
    assert not thread.is_alive()
    assert [event.data["step"] for event in origin.last(Filter(types=("scalar.logged",)), 5)] == [1, 2]
    assert origin.name == f"{collector.address}/{run.run_id}"


def test_a_run_that_the_collector_has_not_is_refused(collector):
    with pytest.raises(RecordError, match="there is no run 'other'"):
        listing_of(collector).origin("other")


def test_a_wait_for_a_quiet_run_ends_when_the_page_closes_it(collector, tmp_path):
    with esper_telemetry.start_run(tmp_path / "runs", name="quiet", collector=collector.address) as run:
        run.flush()
        listing = listing_of(collector)
        wait_until(lambda: listing.runs() and listing.runs()[0].events)
        origin = listing.origin(listing.runs()[0].key)
        stop = False
        seen = []
        thread = threading.Thread(target=lambda: seen.extend(origin.portions(lambda: stop)), daemon=True)
        thread.start()
        wait_until(lambda: seen or not thread.is_alive())
        stop = True
        origin.wake()
        thread.join(20)
        assert not thread.is_alive()
