"""A plan in another context is the plan that was made for it."""

import pytest

from esper_telemetry import events, testing
from esper_telemetry.schema import encode_context
from esper_telemetry.schema.envelope import EnvelopeParts


@pytest.mark.parametrize("context", [{}, {"step": 1}, {"group": "x" * 20_000}], ids=["none", "short", "long"])
def test_only_the_envelope_changes_and_is_the_one_of_the_context(context):
    run, _ = testing.memory_run()
    plan = run._core.plan(events.ScalarLogged, b"")
    moved = plan.within(encode_context(context))
    expected = EnvelopeParts(plan.envelope.type_id, encode_context(context))
    assert moved._replace(envelope=plan.envelope) == plan
    assert [getattr(moved.envelope, name) for name in EnvelopeParts.__slots__] == [
        getattr(expected, name) for name in EnvelopeParts.__slots__
    ]
    run.close()
