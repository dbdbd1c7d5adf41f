"""The audience of a campaign in sentences; what leaves is the text of a rule.

Grammar of the text: ``COLUMN OP VALUE`` or ``COLUMN in (VALUE,...)``, joined by ``and`` / ``or``, groups in
parentheses. A column or value that is not made of letters, digits, ``_ . -`` only, or that is one of the words
``and or in not``, stands in double quotes with ``\\`` before ``"`` and ``\\``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import traitlets

from .component import Component, check_keys
from .plain import PlainDict, PlainList

COLUMN_KINDS: Final = ("choice", "ordered", "number", "text", "date")
OPERATORS: Final = ("in", "not in", "=", "!=", ">=", "<=", ">", "<")
VERDICT_STATES: Final = ("", "sealed", "pending", "refused", "failed", "info")

_MANY: Final = frozenset({"in", "not in"})
_WORDS: Final = frozenset({"and", "or", "in", "not"})
_MAX_DEPTH: Final = 3


class RuleBuilder(Component):
    """Conditions chosen column by column, and the same rule as free text.

    columns: ``{name, kind, label?, values?}``; ``kind`` is one of :data:`COLUMN_KINDS`, ``values`` the known ones in
    order. tree: ``{join: "and"|"or", items: [condition | tree]}`` with conditions ``{column, op, values}``.
    rule: the text, kept in step with the tree by the browser, or typed freely when ``free``; it wins over the tree.
    verdict: ``{state, sentence}`` from the node: how many customers, or what is wrong with the text.
    Event ``rule`` with ``{rule, complete}`` after each change. The node parses and checks the text; nothing here does.
    """

    script: ClassVar[str] = "rule_builder"
    events: ClassVar[Mapping[str, str]] = {"rule": "the rule changed: {rule, complete}"}

    columns = PlainList().tag(sync=True)
    tree = PlainDict().tag(sync=True)
    rule = traitlets.Unicode().tag(sync=True)
    free = traitlets.Bool(False).tag(sync=True)
    verdict = PlainDict().tag(sync=True)

    @traitlets.validate("columns")
    def _columns_are_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        for number, column in enumerate(proposal["value"]):
            check_keys(column, f"columns[{number}]", required=("name", "kind"), optional=("label", "values"))
            if column["kind"] not in COLUMN_KINDS:
                raise ValueError(f"columns[{number}].kind: one of {COLUMN_KINDS} is needed")
        return proposal["value"]

    @traitlets.validate("tree")
    def _tree_is_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        if proposal["value"]:
            rule_text(proposal["value"])
        return proposal["value"]

    @traitlets.validate("verdict")
    def _verdict_is_sound(self, proposal: Mapping[str, Any]) -> Any:  # Any: plain data, checked here
        check_keys(proposal["value"], "verdict", optional=("state", "sentence"))
        if proposal["value"].get("state", "") not in VERDICT_STATES:
            raise ValueError(f"verdict.state: one of {VERDICT_STATES} is needed")
        return proposal["value"]


def rule_text(tree: Mapping[str, Any], *, inner: bool = False, depth: int = 0) -> str:  # Any: plain data, checked here
    """The text of a tree of conditions, as the browser writes it; conditions without a value are left out.

    Raises ``ValueError`` for an unknown operator or join, or a tree deeper than three groups.
    """
    check_keys(tree, "tree", required=("join", "items"))
    if tree["join"] not in ("and", "or") or depth >= _MAX_DEPTH:
        raise ValueError("tree: join is 'and' or 'or', at most three groups deep")
    parts = []
    for item in tree["items"]:
        if "items" in item:
            parts.append(rule_text(item, inner=True, depth=depth + 1))
            continue
        check_keys(item, "condition", required=("column", "op", "values"))
        if item["op"] not in OPERATORS:
            raise ValueError(f"condition.op: one of {OPERATORS} is needed")
        values = [str(value) for value in item["values"]]
        if not values or any(not value.strip() for value in values):
            continue
        given = f"({','.join(map(_atom, values))})" if item["op"] in _MANY else _atom(values[0])
        parts.append(f"{_atom(item['column'])} {item['op']} {given}")
    parts = [part for part in parts if part]
    text = f" {tree['join']} ".join(parts)
    return f"({text})" if inner and len(parts) > 1 else text


def _atom(text: str) -> str:
    if re.fullmatch(r"[\w.\-]+", text) and text.lower() not in _WORDS:
        return text
    return '"' + re.sub(r'[\\"]', lambda found: "\\" + found.group(), text) + '"'
