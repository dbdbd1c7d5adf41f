"""Audience rules: a small language over tags and the risk level, compiled to polars expressions, never evaluated.

    资产档 in (A, B) and risk_level >= C3 and not 城市 = "上海"

Grammar (docs/intake.md, section "Audience rules"):

    rule       = term { "or" term }              term  = factor { "and" factor }
    factor     = "not" factor | "(" rule ")" | comparison
    comparison = column op value | column [ "not" ] "in" "(" value { "," value } ")"
    op         = "=" "!=" "<" "<=" ">" ">="

A cell without a value is unknown: it satisfies neither a comparison nor its negation, so nobody enters an audience
because something is not known about them (Kleene's three values; unknown counts as no at the end). The same holds for
an order between things that have none, such as `高 >= 5`. The canonical text has one spelling for each rule; its
digest names the rule in contracts and evidence.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from workbench.crypto import sm3
from workbench.domain.identifiers import IDENTIFIER_SHAPE, looks_like_identifier
from workbench.errors import Refused
from workbench.intake.audience_text import (
    LEVEL,
    NUMBER,
    RuleError,
    Token,
    is_date,
    is_level,
    is_number,
    number_of,
    quote_column,
    quote_text,
    tokenize,
    with_unit_written_out,
)
from workbench.intake.mapping import canonical_field
from workbench.intake.reasons import shown_text

DEPTH_LIMIT: Final = 20
COMPARISON_LIMIT: Final = 100
VALUE_LIMIT: Final = 500
DIGEST_LABEL: Final = b"workbench/v1/audience\x00"
IDENTIFYING: Final = ("customer_id", "phone", "id_no", "name")
IDENTIFIER_SHARE: Final = 0.01
"""From this share of its cells on a column counts as one of phone or identity numbers; fewer are amounts by chance."""
"""Columns no rule may name: a rule travels into contracts and evidence, which carry no identifier of a customer."""

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
ValueKind = Literal["text", "number", "level", "date"]

_OPERATOR_WORDS: Final[dict[str, tuple[str, str]]] = {
    "=": ("等于", "is"),
    "!=": ("不等于", "is not"),
    "<": ("低于", "is below"),
    "<=": ("不高于", "is at most"),
    ">": ("高于", "is above"),
    ">=": ("不低于", "is at least"),
}
_COLUMN_WORDS: Final = {"risk_level": ("风险等级", "risk level")}


@dataclass(frozen=True, slots=True)
class Value:
    """What a cell is compared with. text: as written, for numbers and levels in their one spelling."""

    text: str
    kind: ValueKind


@dataclass(frozen=True, slots=True)
class Comparison:
    """column op value."""

    column: str
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Membership:
    """column in (values); the values are sorted and distinct."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a rule."""

    part: Node


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold (and)."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds (or)."""

    parts: tuple[Node, ...]


Node = Comparison | Membership | Not | Every | Some


@dataclass(frozen=True, slots=True)
class Audience:
    """A parsed rule. root: None means every customer.

    canonical: the one spelling of the rule; parse_audience(canonical) == self.
    """

    root: Node | None

    @property
    def canonical(self) -> str:
        """The rule in its one spelling; "*" for everybody."""
        return "*" if self.root is None else _format(self.root, 0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns the rule names, sorted."""
        return () if self.root is None else tuple(sorted({leaf.column for leaf in _leaves(self.root)}))

    def digest(self) -> str:
        """64 hexadecimal characters: SM3 over a label and the canonical text."""
        return sm3.digest(DIGEST_LABEL + self.canonical.encode()).hex()

    def select(self, frame: pl.DataFrame) -> pl.Series:
        """A Boolean series, true for the rows of `frame` that belong to the audience.

        frame: string columns, as `import_customers` returns them. Raises Refused (AUDIENCE_COLUMN) when the rule names
        a column that the list does not have, or (AUDIENCE_IDENTIFIER) one that holds phone or identity numbers under
        another name. Cost: about 0.05 microseconds a row and comparison, and a column.
        """
        self.require_columns(frame.columns)
        for name in self.columns:
            _require_no_identifiers(frame[name])
        if self.root is None:
            return pl.Series("audience", [True], dtype=pl.Boolean).new_from_index(0, frame.height)
        return frame.select(_expression(self.root).fill_null(value=False).alias("audience")).to_series()

    def require_columns(self, columns: Sequence[str]) -> None:
        """Raise Refused (AUDIENCE_COLUMN) unless every column of the rule is among `columns`."""
        known = [name for name in columns if name not in IDENTIFYING]
        for name in self.columns:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint_zh = f"，是否是“{shown_text(near[0])}”" if near else ""
                hint_en = f', perhaps "{shown_text(near[0])}"' if near else ""
                listed = "、".join(shown_text(one) for one in known) or "—"
                raise Refused(
                    f"名单中没有列“{shown_text(name)}”{hint_zh}。可用的列：{listed}",
                    f'the list has no column "{shown_text(name)}"{hint_en}. Columns to use: {listed}',
                    code="AUDIENCE_COLUMN",
                    details={"column": shown_text(name)},
                )

    def explain(self, lang: str = "zh") -> str:
        """The rule as a sentence in Chinese ("zh") or English ("en")."""
        index = 1 if lang.startswith("en") else 0
        if self.root is None:
            return ("全部客户", "all customers")[index]
        return _sentence(self.root, index, top=True)


EVERYBODY: Final = Audience(None)


def parse_audience(text: str) -> Audience:
    """The rule that `text` spells; "*" means every customer.

    Raises Refused (AUDIENCE_SYNTAX) naming position and token, AUDIENCE_IDENTIFIER when a rule names a column that
    identifies customers, AUDIENCE_TOO_LARGE past the limits.
    """
    try:
        tokens = tokenize(text)
        if [token.text for token in tokens] == ["*", ""]:
            return EVERYBODY
        return Audience(_Parser(tokens).parse())
    except RuleError as error:
        raise Refused(error.zh, error.en, code=error.code, details={"position": str(error.position)}) from None


def compare_cell(cell: str | None, operator: str, value: Value) -> bool | None:
    """One comparison on one cell, or None when it is unknown: the meaning that the compiled expressions follow."""
    if cell is None:
        return None
    if operator in ("=", "!="):
        if value.kind == "number" and is_number(cell):
            equal = number_of(cell) == number_of(value.text)
        elif value.kind == "level":
            equal = is_level(cell) and cell.upper() == value.text
        else:
            equal = cell == value.text
        return equal if operator == "=" else not equal
    left: float | str
    right: float | str
    if value.kind == "number" and is_number(cell):
        left, right = number_of(cell), number_of(value.text)
    elif value.kind == "level" and is_level(cell):
        left, right = cell.upper(), value.text
    elif value.kind == "date" and is_date(cell):
        left, right = cell, value.text
    else:
        return None
    below, above = left < right, left > right  # type: ignore[operator]  # both are of one kind here
    return {"<": below, "<=": not above, ">": above, ">=": not below}[operator]


class _Parser:
    """Recursive descent over the tokens; `depth` bounds the recursion."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._comparisons = 0

    def parse(self) -> Node:
        node = self._rule(0)
        if self._next.kind != "end":
            raise self._unexpected("“and”“or” 或结尾", '"and", "or" or the end')
        return node

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at += 1
        return token

    def _rule(self, depth: int) -> Node:
        parts = [self._term(depth)]
        while self._next.kind == "or":
            self._take()
            parts.append(self._term(depth))
        return _join(Some, parts)

    def _term(self, depth: int) -> Node:
        parts = [self._factor(depth)]
        while self._next.kind == "and":
            self._take()
            parts.append(self._factor(depth))
        return _join(Every, parts)

    def _factor(self, depth: int) -> Node:
        if depth >= DEPTH_LIMIT:
            raise RuleError.at(
                self._next, f"嵌套超过 {DEPTH_LIMIT} 层", f"nested deeper than {DEPTH_LIMIT}", "AUDIENCE_TOO_LARGE"
            )
        if self._next.kind == "not":
            self._take()
            part = self._factor(depth + 1)
            return part.part if isinstance(part, Not) else Not(part)
        if self._next.kind == "(":
            self._take()
            node = self._rule(depth + 1)
            self._expect(")", "右括号", "a closing parenthesis")
            return node
        return self._comparison()

    def _comparison(self) -> Node:
        token = self._take()
        if token.kind not in ("word", "text", "column"):
            self._at -= 1
            raise self._unexpected("列名", "a column")
        column = canonical_field(token.text) or token.text
        if column in IDENTIFYING:
            raise RuleError.at(
                token,
                "规则会写入合同与存证，不能使用能识别客户的列",
                "a rule goes into contracts and evidence and may not use a column that identifies customers",
                "AUDIENCE_IDENTIFIER",
            )
        self._comparisons += 1
        if self._comparisons > COMPARISON_LIMIT:
            raise RuleError.at(
                token,
                f"条件超过 {COMPARISON_LIMIT} 个",
                f"more than {COMPARISON_LIMIT} conditions",
                "AUDIENCE_TOO_LARGE",
            )
        if self._next.kind == "operator":
            sign = self._take()
            operator: Operator = sign.text  # type: ignore[assignment]  # the tokenizer knows these six only
            return Comparison(column, operator, self._value(sign))
        is_negated = self._next.kind == "not"
        if is_negated:
            self._take()
        if self._next.kind != "in":
            raise self._unexpected("比较符（= != < <= > >= in）", "an operator (= != < <= > >= in)")
        self._take()
        membership = Membership(column, self._values())
        return Not(membership) if is_negated else membership

    def _values(self) -> tuple[Value, ...]:
        self._expect("(", "左括号", "an opening parenthesis")
        values = [self._value(None)]
        while self._next.kind == ",":
            self._take()
            values.append(self._value(None))
            if len(values) > VALUE_LIMIT:
                raise RuleError.at(
                    self._next, f"取值超过 {VALUE_LIMIT} 个", f"more than {VALUE_LIMIT} values", "AUDIENCE_TOO_LARGE"
                )
        self._expect(")", "逗号或右括号", "a comma or a closing parenthesis")
        return tuple(sorted(set(values), key=lambda value: (value.kind, value.text)))

    def _value(self, operator: Token | None) -> Value:
        token = self._take()
        if token.kind not in ("word", "text"):
            self._at -= 1
            raise self._unexpected("取值", "a value")
        value = _value_of(token)
        if looks_like_identifier(value.text):
            raise RuleError.at(
                token,
                "规则会写入存证，不能含手机号或身份证号",
                "a rule goes into evidence and may not hold a phone or an identity number",
                "AUDIENCE_IDENTIFIER",
            )
        if operator is not None and operator.text not in ("=", "!=") and value.kind == "text":
            raise RuleError.at(
                token,
                f"“{operator.text}”只能比较数字、C1 至 C5 或形如 2025-01-31 的日期（数字不加引号）",
                f'"{operator.text}" compares only numbers without quotes, C1 to C5, or dates such as 2025-01-31',
            )
        return value

    def _expect(self, kind: str, zh: str, en: str) -> None:
        if self._next.kind != kind:
            raise self._unexpected(zh, en)
        self._take()

    def _unexpected(self, zh: str, en: str) -> RuleError:
        return RuleError.at(self._next, f"此处应为{zh}", f"expected {en}")


def _require_no_identifiers(cells: pl.Series) -> None:
    """Raise Refused when a column is one of numbers that identify people: comparisons would find them out bit by bit."""
    share = cells.drop_nulls().str.contains(f"^(?:{IDENTIFIER_SHAPE})$").mean()
    if isinstance(share, float) and share >= IDENTIFIER_SHARE:
        name = shown_text(cells.name)
        raise Refused(
            f"列“{name}”里是手机号或身份证号，不能用于受众规则。请在映射中标明或去掉该列",
            f'the column "{name}" holds phone or identity numbers and is not for audience rules: map it, or leave it out',
            code="AUDIENCE_IDENTIFIER",
            details={"column": name},
        )


def _value_of(token: Token) -> Value:
    text = with_unit_written_out(token.text) if token.kind == "word" else token.text
    if token.kind == "word" and is_number(text):
        return Value(_plain_number(text), "number")
    if is_level(text):
        return Value(text.upper(), "level")
    return Value(text, "date" if is_date(text) else "text")


def _plain_number(text: str) -> str:
    """One spelling of a number: no separators, no zeros behind the point, no negative zero."""
    plain = text.replace(",", "").lstrip("+")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def _join(kind: type[Every] | type[Some], parts: list[Node]) -> Node:
    """One flat node for nested parts of one kind, so that (a and b) and c is a and b and c."""
    flat: list[Node] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, kind) else (part,))
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def _leaves(node: Node) -> Iterator[Comparison | Membership]:
    if isinstance(node, (Comparison, Membership)):
        yield node
    elif isinstance(node, Not):
        yield from _leaves(node.part)
    else:
        for part in node.parts:
            yield from _leaves(part)


def _format(node: Node, strength: int) -> str:
    """Canonical text; parentheses stand exactly where the surroundings bind more strongly than the node."""
    if isinstance(node, Comparison):
        return f"{quote_column(node.column)} {node.operator} {_format_value(node.value)}"
    if isinstance(node, Membership):
        return f"{quote_column(node.column)} in ({_format_values(node.values)})"
    if isinstance(node, Not):
        if isinstance(node.part, Membership):
            return f"{quote_column(node.part.column)} not in ({_format_values(node.part.values)})"
        return f"not {_format(node.part, 3)}"
    own, word = (1, " or ") if isinstance(node, Some) else (2, " and ")
    text = word.join(_format(part, own) for part in node.parts)
    return f"({text})" if strength > own else text


def _format_values(values: Iterable[Value]) -> str:
    return ", ".join(_format_value(value) for value in values)


def _format_value(value: Value) -> str:
    return value.text if value.kind != "text" else quote_text(value.text)


def _expression(node: Node) -> pl.Expr:
    if isinstance(node, Comparison):
        return _compare(pl.col(node.column), node.operator, node.value)
    if isinstance(node, Membership):
        return _membership(pl.col(node.column), node.values)
    if isinstance(node, Not):
        return ~_expression(node.part)
    parts = [_expression(part) for part in node.parts]
    return pl.all_horizontal(parts) if isinstance(node, Every) else pl.any_horizontal(parts)


def _compare(cell: pl.Expr, operator: str, value: Value) -> pl.Expr:
    if operator in ("=", "!="):
        equal = _equal(cell, value)
        return equal if operator == "=" else ~equal
    if value.kind == "number":
        left, right = _numbers(cell), pl.lit(number_of(value.text))
    elif value.kind == "level":
        left, right = pl.when(_fits(cell, LEVEL)).then(cell.str.to_uppercase()), pl.lit(value.text)
    else:
        left, right = pl.when(_fits(cell, "[0-9]{4}-[0-9]{2}-[0-9]{2}")).then(cell), pl.lit(value.text)
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]


def _membership(cell: pl.Expr, values: tuple[Value, ...]) -> pl.Expr:
    """Whether the cell equals one of the values: one look-up for all texts and one for all numbers.

    An empty cell makes the look-up for texts unknown, and with it the whole.
    """
    texts = [value.text for value in values if value.kind in ("text", "date")]
    found = cell.is_in(texts)
    levels = [value.text for value in values if value.kind == "level"]
    if levels:
        found = found | (_fits(cell, LEVEL) & cell.str.to_uppercase().is_in(levels))
    numbers = [value.text for value in values if value.kind == "number"]
    if numbers:
        found = found | _numbers(cell).is_in([number_of(text) for text in numbers]).fill_null(value=False)
        found = found | cell.is_in(numbers)
    return found


def _equal(cell: pl.Expr, value: Value) -> pl.Expr:
    if value.kind == "number":
        same_number = (_numbers(cell) == number_of(value.text)).fill_null(value=False)
        return same_number | (cell == value.text)  # unknown for an empty cell: no is not known, and neither is yes
    if value.kind == "level":
        return _fits(cell, LEVEL) & (cell.str.to_uppercase() == value.text)
    return cell == value.text


def _numbers(cell: pl.Expr) -> pl.Expr:
    """The number in a cell, null where there is none."""
    fits = _fits(cell, NUMBER)
    return pl.when(fits).then(cell.str.replace_all(",", "", literal=True)).cast(pl.Float64, strict=False)


def _fits(cell: pl.Expr, pattern: str) -> pl.Expr:
    return cell.str.contains(f"^(?:{pattern})$")


def _sentence(node: Node, index: int, *, top: bool = False) -> str:
    if isinstance(node, Comparison):
        words = _OPERATOR_WORDS[node.operator][index]
        value = node.value.text
        if node.value.kind == "text":
            value = (f"“{value}”", f'"{value}"')[index]
        return f"{_spoken(node.column, index)} {words} {value}"
    if isinstance(node, Membership):
        return _membership_sentence(node, index, negated=False)
    if isinstance(node, Not):
        if isinstance(node.part, Membership):
            return _membership_sentence(node.part, index, negated=True)
        inner = _sentence(node.part, index, top=True)
        return (f"并非（{inner}）", f"not ({inner})")[index]
    word = {Every: ("，并且 ", " and "), Some: ("，或者 ", " or ")}[type(node)][index]
    text = word.join(_sentence(part, index) for part in node.parts)
    return text if top else (f"（{text}）", f"({text})")[index]


def _membership_sentence(node: Membership, index: int, *, negated: bool) -> str:
    column = _spoken(node.column, index)
    if index == 0:
        return f"{column} {'不' if negated else ''}是 {'、'.join(value.text for value in node.values)} 之一"
    return f"{column} is {'none' if negated else 'one'} of {', '.join(value.text for value in node.values)}"


def _spoken(column: str, index: int) -> str:
    return _COLUMN_WORDS[column][index] if column in _COLUMN_WORDS else column
