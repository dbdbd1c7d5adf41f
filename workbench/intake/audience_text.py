"""The characters of audience rules: tokens, the spelling of values, and errors that point at a position."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from workbench.intake.reasons import shown_header

TEXT_LIMIT: Final = 4_000

# At most 15 digits in front of the point, so that whole numbers stay exact in a float, and no zero in front: 0012 is
# the code of a branch, not twelve.
NUMBER: Final = r"[+-]?(?:0|[1-9][0-9]{0,14}|[1-9][0-9]{0,2}(?:,[0-9]{3}){1,4})(?:\.[0-9]{1,6})?"
LEVEL: Final = "[Cc][1-5]"
DATE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"

TokenKind = Literal["word", "text", "column", "operator", "(", ")", ",", "and", "or", "not", "in", "end"]

_KEYWORDS: Final[dict[str, TokenKind]] = {
    "and": "and", "且": "and", "并且": "and", "or": "or", "或": "or", "或者": "or",
    "not": "not", "非": "not", "不": "not", "in": "in", "属于": "in",
}  # fmt: skip
_OPERATORS: Final[dict[str, str]] = {
    "<=": "<=", "≤": "<=", "＜＝": "<=", ">=": ">=", "≥": ">=", "＞＝": ">=",
    "!=": "!=", "<>": "!=", "≠": "!=", "！＝": "!=", "==": "=",
    "=": "=", "＝": "=", "<": "<", "＜": "<", ">": ">", "＞": ">",
}  # fmt: skip
_SIGNS: Final[dict[str, TokenKind]] = {"(": "(", "（": "(", ")": ")", "）": ")", ",": ",", "，": ",", "、": ","}
_QUOTES: Final = {'"': '"', "'": "'", "“": "”", "‘": "’"}

_BLANK = re.compile(r"\s+")
_OPERATOR = re.compile("|".join(re.escape(sign) for sign in sorted(_OPERATORS, key=len, reverse=True)))
_WORD = re.compile(r"[^\s()（）,，、<>=!≤≥≠＜＞＝！\"'“”‘’`\x00-\x1f\x7f]+")
_BARE_COLUMN = re.compile(r"[^\W\d]\w*")
_UNIT: Final = {"万": 10_000, "亿": 100_000_000}
_WITH_UNIT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,8}))?([万亿])")


@dataclass(frozen=True, slots=True)
class Token:
    """One token. position: 1-based character in the rule. text: without quotes; "" at the end."""

    kind: TokenKind
    text: str
    position: int


class RuleError(Exception):
    """What is wrong with a rule and where; `parse_audience` turns it into Refused."""

    def __init__(self, zh: str, en: str, position: int, code: str) -> None:
        super().__init__(en)
        self.zh, self.en, self.position, self.code = zh, en, position, code

    @classmethod
    def at(cls, token: Token, zh: str, en: str, code: str = "AUDIENCE_SYNTAX") -> RuleError:
        """An error that points at `token`."""
        shown = shown_header(token.text, 20)  # a number somebody typed does not go into an error
        where_zh = "结尾处" if token.kind == "end" else f"第 {token.position} 个字符“{shown}”处"
        where_en = "at the end" if token.kind == "end" else f'at character {token.position}, "{shown}"'
        return cls(f"受众规则{where_zh}：{zh}", f"audience rule, {where_en}: {en}", token.position, code)


def tokenize(text: str) -> list[Token]:
    """The tokens of a rule, with one of kind `end` behind them. Raises RuleError."""
    if len(text) > TEXT_LIMIT:
        raise RuleError(
            f"受众规则超过 {TEXT_LIMIT} 个字符",
            f"the audience rule has more than {TEXT_LIMIT} characters",
            1,
            "AUDIENCE_TOO_LARGE",
        )
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        character = text[at]
        if character in _SIGNS:
            token, end = Token(_SIGNS[character], character, at + 1), at + 1
        elif found := _OPERATOR.match(text, at):
            token, end = Token("operator", _OPERATORS[found[0]], at + 1), found.end()
        elif character in _QUOTES or character == "`":
            token, end = _quoted(text, at)
        elif found := _WORD.match(text, at):
            token, end = _word(found[0], at + 1, follows_value_sign(tokens)), found.end()
        else:
            raise RuleError.at(Token("word", character, at + 1), "无法识别的字符", "this character has no meaning here")
        tokens.append(token)
        at = end
    return [*tokens, Token("end", "", len(text) + 1)]


def follows_value_sign(tokens: list[Token]) -> bool:
    """Whether the next token stands where a value does: then 非 or 不 is a word and not a negation."""
    return bool(tokens) and tokens[-1].kind in ("operator", ",")


def quote_text(text: str) -> str:
    """A value in quotation marks; a mark inside is doubled."""
    return '"' + text.replace('"', '""') + '"'


def quote_column(name: str) -> str:
    """A column as a rule spells it: bare where that is unmistakable, otherwise in backquotes."""
    is_bare = _BARE_COLUMN.fullmatch(name) and name.lower() not in _KEYWORDS
    return name if is_bare else "`" + name.replace("`", "``") + "`"


def is_number(text: str) -> bool:
    """Whether a cell or an unquoted value is a number."""
    return re.fullmatch(NUMBER, text) is not None


def number_of(text: str) -> float:
    """The number in a text that `is_number`."""
    return float(text.replace(",", ""))


def with_unit_written_out(text: str) -> str:
    """50万 as 500000 and 1.5亿 as 150000000, exactly; any other text as it is."""
    found = _WITH_UNIT.fullmatch(text)
    if found is None:
        return text
    fraction = found[2] or ""
    whole, rest = divmod(int(found[1] + fraction) * _UNIT[found[3]], 10 ** len(fraction))
    return f"{whole}.{rest:0{len(fraction)}d}".rstrip("0") if rest else str(whole)


def is_level(text: str) -> bool:
    """Whether a text is a risk level, C1 to C5 in either case."""
    return re.fullmatch(LEVEL, text) is not None


def is_date(text: str) -> bool:
    """Whether a text has the form 2025-01-31, whose order as text is the order of days."""
    return re.fullmatch(DATE, text) is not None


def _word(text: str, position: int, is_value: bool) -> Token:
    kind = _KEYWORDS.get(text.lower())
    if kind is not None and not is_value:
        return Token(kind, text, position)
    return Token("word", text, position)


def _quoted(text: str, at: int) -> tuple[Token, int]:
    opening = text[at]
    closing = _QUOTES.get(opening, opening)
    parts: list[str] = []
    start = at + 1
    while (end := text.find(closing, start)) >= 0:
        parts.append(text[start:end])
        if text[end + 1 : end + 2] != closing:
            content = closing.join(parts)
            return Token("column" if opening == "`" else "text", content, at + 1), end + 1
        start = end + 2
    raise RuleError.at(Token("text", text[at : at + 20], at + 1), "引号没有结束", "the quotation mark is not closed")
