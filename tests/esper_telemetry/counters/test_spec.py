"""A spec is refused when it is made, with the value, the place and what would fit."""

from __future__ import annotations

import subprocess
import sys

import pytest

from esper.v1 import trainer_pb2
from esper_telemetry.counters import CounterSpec, StepRow
from esper_telemetry.errors import CounterError
from esper_telemetry.v1 import context_pb2

OPS = ("WAIT", "GERMINATE", "CULL", "FOSSILIZE")


def test_heads_are_given_by_names_or_by_number():
    spec = CounterSpec({"op": OPS, "slot": 3})
    assert spec.heads == {"op": OPS, "slot": ("0", "1", "2")}
    assert spec.option_offsets == {"op": 0, "slot": 4}
    assert (spec.option_count, spec.deciding_head) == (7, "op")
    assert repr(spec) == "CounterSpec({op: 4, slot: 3}, scalars=(), histograms=())"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"heads": {}}, "nothing to count"),
        ({"heads": {"op": 0}}, r"head 'op': options are 0"),
        ({"heads": {"op": "WAIT"}}, "head 'op': options are 'WAIT'"),
        ({"heads": {"op": (1, 2)}}, r"head 'op': options are \(1, 2\)"),
        ({"heads": {"op": ("A", "A")}}, "two options have one name"),
        ({"heads": {"op": 40_000}}, "40,000 options are over the limit of 32,767"),
        ({"heads": {"op": 2}, "scalars": "reward"}, "scalars are 'reward'; give a tuple"),
        ({"heads": {"op": 2}, "scalars": ("a", "a")}, "different names"),
        ({"heads": {"op": 2}, "histograms": {"td": ()}}, "histogram 'td': edges"),
        ({"heads": {"op": 2}, "histograms": {"td": (1.0, 1.0)}}, "each over the one before"),
        ({"heads": {"op": 2}, "histograms": {"td": (1.0, float("inf"))}}, "finite numbers"),
        ({"heads": {"op": 2}, "deciding_head": "slot"}, "deciding_head: head 'slot' is unknown; the heads are op"),
        ({"heads": {"op": OPS}, "relevant": {"slot": ("op", OPS)}}, "relevant: head 'slot' is unknown"),
        ({"heads": {"op": OPS}, "relevant": {"op": ("slot", OPS)}}, r"relevant\['op'\]: head 'slot' is unknown"),
        (
            {"heads": {"op": OPS}, "relevant": {"op": ("op", ("PRUNE",))}},
            "'PRUNE' is no option of head 'op'; they are WAIT",
        ),
    ],
)
def test_a_spec_that_cannot_be_counted_is_refused(options, says):
    with pytest.raises(CounterError, match=says):
        CounterSpec(**options)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"actions": {"slot": "slot_id"}}, "head 'slot' is unknown"),
        (
            {"actions": {"op": "operation"}},
            "has no single string or enum field 'operation'; those that fit: op, slot_id",
        ),
        ({"actions": {"op": "op_masked"}}, "no single string or enum field 'op_masked'"),
        ({"masked": {"op": "op"}}, "no single bool field 'op'; those that fit: op_masked"),
        ({"success": "reward"}, "no single bool field 'reward'"),
        ({"scalars": {"reward": "op"}}, "no single double or float field 'op'; those that fit: reward"),
        ({"masked": {"op": "op_masked"}, "forced": {"op": "op_masked"}}, "field 'op_masked' is filled by two columns"),
    ],
)
def test_a_row_whose_columns_do_not_fit_its_message_is_refused(row, says):
    with pytest.raises(CounterError, match=says):
        CounterSpec({"op": OPS}, row=StepRow(trainer_pb2.ActionTaken, **row))


def test_options_of_an_enum_field_must_be_names_of_its_values():
    with pytest.raises(CounterError, match=r"option 'PRUNE' is no value of esper.v1.LifecycleOp; its values: .*WAIT"):
        CounterSpec({"op": ("WAIT", "PRUNE")}, row=StepRow(trainer_pb2.ActionTaken, actions={"op": "op"}))
    row = StepRow(trainer_pb2.ActionTaken, actions={"op": "op"})
    assert row.option_numbers("op", ("WAIT", "LIFECYCLE_OP_CULL")) == (1, 3)
    assert row.option_numbers("slot_id", ("early",)) == ()


@pytest.mark.parametrize("cls", [context_pb2.Context, dict, "esper.v1.ActionTaken"])
def test_a_row_must_be_an_event(cls):
    with pytest.raises(CounterError, match="is no event class"):
        StepRow(cls)


def test_values_are_scalars_and_histograms_named_once():
    spec = CounterSpec({"op": 2}, scalars=("td", "reward"), histograms={"td": (0.0,), "advantage": (1.0,)})
    assert spec.value_names == ("td", "reward", "advantage")


def test_a_spec_and_a_snapshot_need_neither_torch_nor_numpy():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['numpy'] = None\n"
        "from esper_telemetry import counters\n"
        "counters.CounterSpec({'op': 2})\n"
        "for name in ('DeviceCounters', 'HostCounters'):\n"
        "    try: getattr(counters, name)\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.count("MissingExtraError") == 2
    assert "pip install 'esper-telemetry[torch]'" in said
