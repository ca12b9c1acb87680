"""What an engine is: both that there are satisfy the interface, lane for lane and call for call."""

import inspect

import pytest

from esper_telemetry.jetstream.gateway import GatewayEngine, GatewayLane
from esper_telemetry.storage.engine import Engine, ProducerLane
from esper_telemetry.storage.file_engine import FileEngine
from esper_telemetry.storage.producer_files import ProducerFiles


def members(protocol) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [(Engine, FileEngine), (ProducerLane, ProducerFiles), (Engine, GatewayEngine), (ProducerLane, GatewayLane)],
)
def test_an_engine_has_every_call_of_the_interface_with_its_arguments(protocol, kind):
    for name in members(protocol):
        wanted = getattr(protocol, name)
        if inspect.isfunction(wanted):
            assert list(inspect.signature(getattr(kind, name)).parameters) == list(inspect.signature(wanted).parameters)
            assert inspect.iscoroutinefunction(getattr(kind, name)) == inspect.iscoroutinefunction(wanted)
