"""The rule a person clicks together is the rule the node reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workbench_widgets import RuleBuilder, rule_text
from workbench_widgets.samples import COLUMNS, RULE_TREE

from workbench.intake.audience import Comparison, Every, Membership, Not, Some, parse_audience

Tree = dict[str, Any]
NAME = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
VALUE = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
LINE = st.fixed_dictionaries(
    {
        "column": NAME,
        "op": st.sampled_from(["in", "not in", "=", "!="]),
        "values": st.lists(VALUE, min_size=1, max_size=3),
    }
)
GROUP = st.recursive(
    LINE,
    lambda inner: st.fixed_dictionaries({"join": st.sampled_from(["and", "or"]), "items": st.lists(inner, min_size=2, max_size=3)}),
    max_leaves=5,
)  # fmt: skip


def test_the_example_of_the_design_is_spelt_as_it_stands_there() -> None:
    tree = {"join": "and", "items": RULE_TREE["items"][:2]}
    assert rule_text(tree, COLUMNS) == "资产档 in (A,B) and risk_level >= C3"


def test_no_condition_is_everybody_and_an_unfinished_one_is_nobodys_rule() -> None:
    assert rule_text({"join": "and", "items": []}) == "*"
    assert rule_text({"join": "and", "items": [{"column": "城市", "op": "=", "values": []}]}) == ""


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("text", "007", '"007"'),
        ("choice", "C3", '"C3"'),
        ("ordered", "C3", "C3"),
        ("number", "50万", "50万"),
        ("text", "50万", '"50万"'),
        ("date", "2026-11-21", "2026-11-21"),
        ("text", "or", '"or"'),
        ("text", '说"好"', '"说""好"""'),
        ("text", "上海", "上海"),
    ],
)
def test_a_value_is_bare_only_where_it_cannot_be_misread(kind: str, value: str, text: str) -> None:
    tree = {"join": "and", "items": [{"column": "列", "op": "=", "values": [value]}]}
    assert rule_text(tree, [{"name": "列", "kind": kind}]) == f"列 = {text}"


@given(tree=GROUP)
def test_the_node_reads_every_rule_as_the_tree_it_was_made_from(tree: Tree) -> None:
    whole: Tree = tree if "items" in tree else {"join": "and", "items": [tree]}
    if _depth(whole) > 3 or any(name.lower() in ("customer_id", "phone", "id_no", "name") for name in _columns(whole)):
        return
    read = parse_audience(rule_text(whole))
    assert _shape(read.root) == _flat(whole)


def _depth(tree: Tree) -> int:
    return 1 + max((_depth(item) for item in tree["items"] if "items" in item), default=0)


def _columns(tree: Tree) -> list[str]:
    return [name for item in tree["items"] for name in (_columns(item) if "items" in item else [item["column"]])]


def _flat(tree: Tree) -> Any:  # Any: nested tuples
    parts = []
    for item in tree["items"]:
        part = _flat(item) if "items" in item else _line(item)
        if part[0] == tree["join"]:
            parts += part[1]
        else:
            parts.append(part)
    return parts[0] if len(parts) == 1 else (tree["join"], parts)


def _line(item: Tree) -> Any:  # Any: nested tuples
    if item["op"] in ("in", "not in"):
        member = ("in", item["column"], frozenset(item["values"]))
        return member if item["op"] == "in" else ("not", member)
    return (item["op"], item["column"], item["values"][0])


def _shape(node: Any) -> Any:  # Any: the parser's nodes, as nested tuples
    match node:
        case Membership(column=column, values=values):
            return ("in", column, frozenset(value.text for value in values))
        case Comparison(column=column, operator=operator, value=value):
            return (operator, column, value.text)
        case Not(part=part):
            return ("not", _shape(part))
        case Every(parts=parts):
            return ("and", [_shape(part) for part in parts])
        case Some(parts=parts):
            return ("or", [_shape(part) for part in parts])
    raise AssertionError(node)


def test_a_tree_with_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="op"):
        RuleBuilder(tree={"join": "and", "items": [{"column": "a", "op": "; drop", "values": ["1"]}]})
