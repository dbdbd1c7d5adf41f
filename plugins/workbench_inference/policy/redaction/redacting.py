"""Replace what names or numbers a person before a question is sealed; put it back for those who may see it. Pure.

Cost: linear in the length of the text; `Redacted.steps` counts, and a test holds it against the length. What is not recognised
stays, so the class of a text that was typed freely is never below `internal` (`workbench_inference.policy.classes`).
Document: docs/protocols/sandbox.md section 13, docs/sandbox-design.md section 6 (package 4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from workbench_inference.policy.redaction import addresses, emails, names, numbers
from workbench_inference.policy.redaction.folding import Meter, fold
from workbench_inference.policy.redaction.names import KnownNames
from workbench_inference.policy.redaction.numbers import Found

KINDS: Final[dict[str, tuple[str, str, str]]] = {
    "phone": ("手机", "电话号码", "phone number"),
    "id": ("身份证", "身份证号", "identity number"),
    "card": ("银行卡", "银行卡号", "bank card"),
    "name": ("姓名", "姓名", "name"),
    "account": ("账号", "账号", "account number"),
    "email": ("邮箱", "电子邮箱", "e-mail address"),
    "address": ("地址", "地址", "postal address"),
}
"""Kind -> word of its labels, name in Chinese, in English."""

OPEN, CLOSE = "〔", "〕"
_ORDER: Final = {"email": 0, "id": 1, "card": 2, "phone": 3, "account": 4, "address": 5, "name": 6}


@dataclass(frozen=True, slots=True)
class Tile:
    """One replaced stretch of the original, characters start to end (exclusive). label: what stands there now, with brackets."""

    kind: str
    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Redacted:
    """text: to be sealed. tiles: in the order of the original. values: label -> what it stands for, as first written; it stays with
    the institution, in its vault, and in no repr. left: identifiers that a second look at `text` still finds. steps: cost."""

    text: str = field(repr=False)
    tiles: tuple[Tile, ...]
    values: Mapping[str, str] = field(repr=False)
    left: int
    steps: int

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind, for evidence and pages."""
        return dict(sorted(Counter(one.kind for one in self.tiles).items()))


def redact(text: str, known: KnownNames) -> Redacted:
    """Every identifier of KINDS replaced by a label such as 〔手机1〕; one person's number has one label however it is written."""
    meter = Meter()
    spans = scan(text, known, meter)
    taken = {text[at : text.find(CLOSE, at) + 1] for at, one in enumerate(text) if one == OPEN and text.find(CLOSE, at, at + 12) > 0}
    labels: dict[tuple[str, str], str] = {}
    numbers_of: Counter[str] = Counter()
    values: dict[str, str] = {}
    tiles: list[Tile] = []
    out: list[str] = []
    reach = 0
    for kind, key, start, end in spans:
        label = labels.get((kind, key))
        if label is None:
            while label is None or label in taken:
                numbers_of[kind] += 1
                label = f"{OPEN}{KINDS[kind][0]}{numbers_of[kind]}{CLOSE}"
            labels[kind, key] = label
            values[label] = text[start:end]
        out += (text[reach:start], label)
        tiles.append(Tile(kind, label, start, end))
        reach = end
    out.append(text[reach:])
    written = "".join(out)
    left = len(scan(written, known, meter)) if tiles else 0
    return Redacted(written, tuple(tiles), values, left, meter.count)


def restore(text: str, redacted: Redacted, *, allowed: frozenset[str]) -> str:
    """`text` with the labels of these kinds as what they stand for; every other label stays."""
    return restore_values(text, redacted.values, allowed=allowed)


def restore_values(text: str, values: Mapping[str, str], *, allowed: frozenset[str]) -> str:
    """As `restore`, with a map that was kept. One pass: what is put in is not looked at again."""
    words = {one[0]: kind for kind, one in KINDS.items()}
    out: list[str] = []
    place = 0
    while True:
        start = text.find(OPEN, place)
        if start < 0:
            return "".join((*out, text[place:]))
        end = text.find(CLOSE, start, start + 12) + 1
        label = text[start:end] if end else ""
        kind = words.get(label[1:-1].rstrip("0123456789"), "")
        value = values.get(label) if kind in allowed else None
        out.append(text[place:start])
        if value is None:
            out.append(OPEN)
            place = start + 1
        else:
            out.append(value)
            place = end


def scan(text: str, known: KnownNames, meter: Meter | None = None) -> list[tuple[str, str, int, int]]:
    """(kind, one spelling, start, end) of every identifier, in order, none over another."""
    meter = meter or Meter()
    folded = fold(text, meter)
    if not folded.text:
        return []
    found: list[Found] = [
        *emails.find(folded.lower, meter),
        *numbers.find(folded.text, folded.lower, meter),
        *names.find(folded.lower, known, meter),
        *addresses.find(folded.text, meter),
    ]
    covered = bytearray(len(folded.text))
    kept: list[Found] = []
    for kind in sorted(_ORDER, key=_ORDER.__getitem__):
        for one in found:
            meter.count += 1
            if one.kind != kind or any(covered[one.start : one.end]):
                continue
            covered[one.start : one.end] = b"\x01" * (one.end - one.start)
            kept.append(one)
    starts = {one.start: one for one in kept}
    spans = []
    for place in range(len(folded.text)):
        meter.count += 1
        if place in starts:
            one = starts[place]
            spans.append((one.kind, one.key, *folded.back(one.start, one.end)))
    return spans


__all__ = ["CLOSE", "KINDS", "OPEN", "KnownNames", "Redacted", "Tile", "redact", "restore", "restore_values", "scan"]
