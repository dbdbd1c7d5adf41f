"""What a consent row says besides purpose, recipient and period: notice, categories, channels, signer, uses.

Codes are matched in any case and by their names in both languages; lists are separated by commas, 、, semicolons, bars or
blanks. A row under a version of a notice must lie inside what that version told. Document: docs/intake.md section 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from workbench.domain.identifiers import EMPTY_WORDS, fold_cell

SIGNERS: Final[dict[str, str]] = {
    "self": "self", "本人": "self", "guardian": "guardian", "监护人": "guardian", "agent": "agent", "代理人": "agent",
    "kin": "kin", "近亲属": "kin",
}  # fmt: skip
YES: Final = frozenset({"yes", "y", "true", "1", "是", "√", "同意"})
NO: Final = frozenset({"no", "n", "false", "0", "否", "×", "不同意"})
MAX_USES: Final = 1_000_000
REPRESENTING: Final = ("guardian", "agent", "kin")
"""Signers who act for the customer."""
SIGNER_FIELDS: Final[dict[str, int]] = {"signer_name": 100, "signer_relation": 100, "authority": 200, "authority_digest": 64}
"""Who signed for the customer: column and longest text."""
FORM_FIELDS: Final = ("notice", "categories", "contacts", "method", "signer", "separate", "max_uses")
JUDGED: Final = ("notice", "purpose", "recipient", "categories", "contacts", "separate", "valid_from_ms")
"""Columns that `scope_faults` looks at."""
_SEPARATORS = re.compile(r"[,，、;；|/\s]+")
_NOTICE = re.compile(r"[a-z][a-z0-9-]{1,30}@[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class LineScope:
    """What one line of a version told: categories and channels, ascending."""

    categories: tuple[str, ...]
    contacts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoticeScope:
    """What may be signed under a version: its lines by (purpose, recipient), from when, until when (0: still)."""

    lines: Mapping[tuple[str, str], LineScope]
    from_ms: int
    until_ms: int = 0


@dataclass(frozen=True, slots=True)
class FormRules:
    """What a form may say. categories, contacts, methods: code -> its names. notices: key@version -> its scope.

    notice_required: a row without a version is refused. processors: entrusted processors, never recipients.
    representative_required: a row that somebody signed for the customer names that person and the basis of authority.
    """

    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contacts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notices: Mapping[str, NoticeScope] = field(default_factory=dict)
    notice_required: bool = False
    processors: frozenset[str] = frozenset()
    representative_required: bool = False


Reading = tuple[str | int | bool | None, str | None]


def read_form_field(name: str, text: str, rules: FormRules) -> Reading:
    """The value of one cell of FORM_FIELDS, or a fault (a code of ROW_REASONS)."""
    folded = fold_cell(text)
    if not folded or folded.lower() in EMPTY_WORDS:
        return None, None
    lower = folded.lower()
    if name == "notice":
        return (lower, None) if _NOTICE.fullmatch(lower) else (None, "NOTICE_UNKNOWN")
    if name == "categories":
        return _codes(lower, rules.categories, "CATEGORY_UNKNOWN")
    if name == "contacts":
        return _codes(lower, rules.contacts, "CONTACT_UNKNOWN")
    if name == "method":
        codes, fault = _codes(lower, rules.methods, "METHOD_UNKNOWN")
        return (None, "METHOD_UNKNOWN") if codes is not None and "," in str(codes) else (codes, fault)
    if name == "signer":
        return (SIGNERS[lower], None) if lower in SIGNERS else (None, "SIGNER_UNKNOWN")
    if name == "separate":
        return (None, "FLAG_FORMAT") if lower not in YES | NO else (lower in YES, None)
    if re.fullmatch(r"[0-9]{1,7}", lower) and 1 <= int(lower) <= MAX_USES:
        return int(lower), None
    return None, "USES_FORMAT"


def read_signer_field(name: str, text: str) -> Reading:
    """The value of one cell of SIGNER_FIELDS, or a fault."""
    folded = " ".join(fold_cell(text).split())
    if not folded or folded.lower() in EMPTY_WORDS:
        return None, None
    if name == "authority_digest":
        return (folded.lower(), None) if re.fullmatch(r"[0-9a-fA-F]{64}", folded) else (None, "DIGEST_FORMAT")
    return (folded, None) if len(folded) <= SIGNER_FIELDS[name] and folded.isprintable() else (None, "REPRESENTATIVE_TEXT")


def signer_faults(rows: pl.DataFrame, *, required: bool) -> pl.Series:
    """Why a row's signer and the person named do not fit, null where they do. rows: columns signer and SIGNER_FIELDS.

    required: whoever signs for a customer is named, with the basis of authority; else only what is given must fit.
    """
    represents = pl.col("signer").is_in(REPRESENTING).fill_null(value=False)
    is_named = pl.any_horizontal(pl.col(one).is_not_null() for one in SIGNER_FIELDS)
    is_whole = pl.col("signer_name").is_not_null() & pl.col("authority").is_not_null()
    lacks = represents & ~is_whole & (is_named | pl.lit(required))
    return rows.select(
        pl.when(is_named & ~represents).then(pl.lit("REPRESENTATIVE_UNEXPECTED")).when(lacks).then(pl.lit("REPRESENTATIVE_MISSING"))
    ).to_series()


def scope_faults(rows: pl.DataFrame, rules: FormRules) -> pl.DataFrame:
    """Columns fault, categories, contacts, separate: rows held against their version; what a row leaves open is filled in.

    rows: columns JUDGED. Cost: small, few rows differ.
    """
    names = list(JUDGED[:-1])
    distinct = rows.select(names).unique(maintain_order=True)
    judged = [_judge(rules, *row) for row in distinct.iter_rows()]
    table = distinct.with_columns(
        fault=pl.Series([one[0] for one in judged], dtype=pl.String),
        told_categories=pl.Series([one[1] for one in judged], dtype=pl.String),
        told_contacts=pl.Series([one[2] for one in judged], dtype=pl.String),
        told_separate=pl.Series([one[3] for one in judged], dtype=pl.Boolean),
        opens=pl.Series([one[4] for one in judged], dtype=pl.Int64),
        closes=pl.Series([one[5] for one in judged], dtype=pl.Int64),
    )
    joined = rows.join(table, on=names, how="left", nulls_equal=True, maintain_order="left")
    began = pl.col("valid_from_ms")
    early_or_late = (began < pl.col("opens")) | ((pl.col("closes") > 0) & (began >= pl.col("closes")))
    return joined.select(
        fault=pl.coalesce("fault", pl.when(early_or_late.fill_null(value=False)).then(pl.lit("NOTICE_NOT_IN_FORCE"))),
        categories="told_categories",
        contacts="told_contacts",
        separate="told_separate",
    )


_Judged = tuple[str | None, str | None, str | None, bool | None, int, int]


def _judge(
    rules: FormRules, notice: str | None, purpose: str | None, recipient: str | None, categories: str | None,
    contacts: str | None, separate: bool | None,
) -> _Judged:  # fmt: skip
    """(fault, categories, contacts, separate, from when, until when) of rows that say the same."""

    def fault(code: str) -> _Judged:
        return code, categories, contacts, separate, 0, 0

    if recipient in rules.processors:
        return fault("RECIPIENT_IS_PROCESSOR")
    if separate is False:
        return fault("SEPARATE_MISSING")
    if notice is None:
        return fault("NOTICE_MISSING") if rules.notice_required else (None, categories, contacts, separate, 0, 0)
    scope = rules.notices.get(notice)
    if scope is None:
        return fault("NOTICE_UNKNOWN")
    line = scope.lines.get((purpose or "", recipient or ""))
    if line is None:
        return fault("NOTICE_SCOPE") if purpose and recipient else (None, categories, contacts, separate, 0, 0)
    named = categories.split(",") if categories else list(line.categories)
    reached = contacts.split(",") if contacts else list(line.contacts)
    if not (set(named) <= set(line.categories) and set(reached) <= set(line.contacts)):
        return fault("NOTICE_SCOPE")
    # Every line of a version has a switch of its own (docs/protocols/notice.md section 6): signing it is separate consent.
    return None, ",".join(named), ",".join(reached), True, scope.from_ms, scope.until_ms


def _codes(text: str, known: Mapping[str, tuple[str, ...]], fault: str) -> Reading:
    """Distinct codes, ascending, joined by commas."""
    by_name = {name.lower(): code for code, names in known.items() for name in (code, *names)}
    if text in by_name:
        return by_name[text], None
    found = [by_name.get(one) for one in _SEPARATORS.split(text) if one]
    if not found or None in found:
        return None, fault
    return ",".join(sorted({str(one) for one in found})), None
