"""The mutation tool tells tests that notice a change from tests that do not, and leaves the checkout as it is."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

from tools.mutate import changes, drawn, own_tests

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ROOT / "esper_telemetry" / "schema" / "levels.py"


def changed_to(source: str) -> set[str]:
    """Return what the parts of a source are replaced with."""
    return {ast.unparse(other) for *_, other in changes(ast.parse(textwrap.dedent(source)))}


def test_comparisons_arithmetic_and_constants_are_replaced():
    assert changed_to("x = a < b + 1") == {"a <= b + 1", "b - 1", "2"}
    assert {"not a or b", "a", "True"} <= changed_to("x = not a and b\ny = False")


def test_statements_are_left_out_and_branches_decided():
    assert changed_to("def f(a):\n    if a: raise ValueError\n    return a") >= {"pass", "return None"}
    assert "if False:\n    g()" in changed_to("if a:\n    g()")
    assert "continue" in changed_to("for a in b:\n    break")


def test_annotations_docstrings_and_imports_for_types_are_left_alone():
    source = '''
        """A docstring."""
        if TYPE_CHECKING:
            limit = 3
        def f(a: Literal[1]) -> Literal[2]:
            """Another."""
    '''
    assert changed_to(source) == set()


def test_a_seed_draws_the_same_mutants_again_and_each_compiles():
    chosen, every = drawn([LEVELS], 4, seed=3)
    assert ([*map(str, chosen)], every) == ([*map(str, drawn([LEVELS], 4, seed=3)[0])], drawn([LEVELS], 4, seed=3)[1])
    assert len(chosen) == 4 < every
    usual = ast.dump(ast.parse(LEVELS.read_text()))
    for mutant in chosen:
        compile(mutant.source, mutant.path, "exec")
        assert ast.dump(ast.parse(mutant.source)) != usual, mutant


def test_a_file_is_tried_with_the_tests_of_its_name():
    assert own_tests("esper_telemetry/schema/call_shapes.py") == [
        "tests/esper_telemetry/schema/test_call_shapes.py",
        "tests/esper_telemetry/schema/test_call_shapes_context.py",
    ]


def test_a_mutant_names_the_outermost_function_that_holds_it():
    chosen, every = drawn([ROOT / "esper_telemetry" / "schema" / "guard.py"], 1000, seed=1)
    assert len(chosen) == every
    tree = ast.parse((ROOT / "esper_telemetry" / "schema" / "guard.py").read_text())
    spans = {
        each.name: range(each.body[0].lineno, each.end_lineno + 1)
        for each in tree.body
        if isinstance(each, ast.FunctionDef)
    }
    for mutant in chosen:
        holding = [name for name, span in spans.items() if mutant.line in span]
        assert mutant.function in holding if holding else "." in mutant.function or not mutant.function, mutant
