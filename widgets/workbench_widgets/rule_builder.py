"""The audience of a campaign in sentences; what leaves is the text of a rule.

The text is written so that no reader of audience rules can take it for something else: a column is bare when it is a
name (a letter or ``_``, then letters, digits, ``_``) and no keyword, else in backquotes; a value of a number, level or
date column is bare when it looks like one, any other value is bare when it is a name that is neither a keyword nor a
risk level, else in quotation marks, so that the code ``007`` never turns into a number. A mark inside is doubled.
Lists stand in ``(A,B)``, groups in parentheses, joined by ``and`` / ``or``; no condition at all is ``*``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import traitlets

from .component import Component, check_keys
from .plain import PlainDict, PlainList

COLUMN_KINDS: Final = ("choice", "ordered", "number", "text", "date")
OPERATORS: Final = ("in", "not in", "=", "!=", ">=", "<=", ">", "<")
VERDICT_STATES: Final = ("", "done", "pending", "refused", "failed", "info")

_MANY: Final = frozenset({"in", "not in"})
_WORDS: Final = frozenset({"and", "or", "in", "not", "且", "并且", "或", "或者", "非", "不", "属于"})
_LEVEL: Final = re.compile("[Cc][1-5]")
_LOOKS: Final = {
    "ordered": re.compile("[Cc][1-5]|[+-]?[0-9][0-9.]*"),
    "number": re.compile(r"[+-]?[0-9]+(\.[0-9]+)?[万亿]?"),
    "date": re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}"),
}
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
    written: ClassVar[tuple[str, ...]] = ("tree", "rule", "free")
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


def rule_text(tree: Mapping[str, Any], columns: Sequence[Mapping[str, Any]] = ()) -> str:  # Any: plain data, checked
    """The text of a tree of conditions, as the browser writes it; conditions without a value are left out.

    columns: as in :class:`RuleBuilder`; a column not among them counts as text. No condition at all is ``*``.
    Raises ``ValueError`` for an unknown operator or join, or a tree deeper than three groups.
    """
    kinds = {str(column["name"]): str(column["kind"]) for column in columns}
    text = _joined(tree, kinds, depth=0)
    return text if tree["items"] else "*"


def _joined(tree: Mapping[str, Any], kinds: Mapping[str, str], *, depth: int) -> str:  # Any: plain data, checked here
    check_keys(tree, "tree", required=("join", "items"))
    if tree["join"] not in ("and", "or") or depth >= _MAX_DEPTH:
        raise ValueError("tree: join is 'and' or 'or', at most three groups deep")
    parts = [_joined(item, kinds, depth=depth + 1) if "items" in item else _line(item, kinds) for item in tree["items"]]
    parts = [part for part in parts if part]
    text = f" {tree['join']} ".join(parts)
    return f"({text})" if depth and len(parts) > 1 else text


def _line(item: Mapping[str, Any], kinds: Mapping[str, str]) -> str:  # Any: plain data, checked here
    check_keys(item, "condition", required=("column", "op", "values"))
    if item["op"] not in OPERATORS:
        raise ValueError(f"condition.op: one of {OPERATORS} is needed")
    values = [str(value) for value in item["values"]]
    if not values or any(not value.strip() for value in values):
        return ""
    shown = [_value(value, kinds.get(item["column"], "text")) for value in values]
    return f"{_column(item['column'])} {item['op']} {'(' + ','.join(shown) + ')' if item['op'] in _MANY else shown[0]}"


def _column(name: str) -> str:
    return name if _is_bare(name) else "`" + name.replace("`", "``") + "`"


def _value(text: str, kind: str) -> str:
    looks = _LOOKS.get(kind)
    if (looks and looks.fullmatch(text)) or (_is_bare(text) and not _LEVEL.fullmatch(text)):
        return text
    return '"' + text.replace('"', '""') + '"'


def _is_bare(text: str) -> bool:
    head, tail = text[:1], text[1:]
    named = (head.isalpha() or head == "_") and all(sign.isalnum() or sign == "_" for sign in tail)
    return named and text.lower() not in _WORDS
