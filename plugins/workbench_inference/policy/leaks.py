"""Whether an answer carries out what must stay: identifiers, parts of the prompt, values of the redaction map, canaries. Pure, linear.

An identifier that a cited public document states byte for byte (the hotline or address of a fund house, a fund manager who has a
customer's name) is no leak; a mobile phone, identity number or bank card is one wherever it stands. Requirement J12.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from workbench_inference.policy.content import PASSED, Verdict
from workbench_inference.policy.redaction import KINDS, KnownNames
from workbench_inference.policy.redaction import scan as identifiers

SHINGLE: Final = 11
LATIN_SHINGLE: Final = 30
"""So many folded characters of the prompt in a row are a part of it: the first of mostly Chinese ones, the second of any."""

_NOBODY: Final = KnownNames.of((), key=bytes(16))
_PUBLIC_IN_SOURCES: Final = frozenset({"email", "address", "account", "phone", "name"})
"""Kinds that a cited document may state; of phones only landlines and hotlines, of names those not said to be a customer's."""
_OF_A_CUSTOMER: Final = ("客户", "投资者", "持有人", "户名", "customer", "client", "investor")


@dataclass(frozen=True, slots=True)
class LeakList:
    """What must not come out. prompt_parts: lines of instructions; values: of redaction maps; canaries: planted strings;
    known: names of customers. It is built for one answer and has no repr."""

    prompt_parts: tuple[str, ...] = field(default=(), repr=False)
    values: tuple[str, ...] = field(default=(), repr=False)
    canaries: tuple[str, ...] = field(default=(), repr=False)
    known: KnownNames = field(default=_NOBODY, repr=False)


def scan(text: str, secrets: LeakList, *, cited: Sequence[str] = (), is_strict: bool = False) -> Verdict:
    """The first leak, or PASSED. cited: characters of public sources that the answer cites; is_strict: addresses, accounts, network
    addresses and keys are leaks even where a source has them. Cost: linear in the answer, times the number of values and canaries."""
    folded = _fold(text)
    for one in secrets.canaries:
        if _holds(text, folded, one):
            return _leak("canary", "植入的标记串", "a planted string")
    for one in secrets.values:
        # A name of two characters stands in many words: it is looked for as a name, below.
        if len(_fold(one)) >= 3 and _holds(text, folded, one):
            return _leak("map", "本次问题中已遮盖的内容", "something that was redacted from the question")
    if _shares(folded, secrets.prompt_parts):
        return _leak("prompt", "提示词的内容", "a part of the prompt")
    sources = tuple(cited)
    for kind, key, start, end in identifiers(text, secrets.known):
        is_mobile = kind == "phone" and len(key) == 11 and key[0] == "1"
        is_customer = kind == "name" and any(one in text[max(0, start - 10) : start].lower() for one in _OF_A_CUSTOMER)
        is_public = kind in _PUBLIC_IN_SOURCES and not is_mobile and not is_customer and not is_strict and any(text[start:end] in one for one in sources)
        if not is_public:
            return _leak(kind, KINDS[kind][1], KINDS[kind][2])
    if is_strict and (found := _technical(text)):
        return _leak(found, "网络地址、密钥或口令", "a network address, key or password")
    return PASSED


def spellings(value: str) -> tuple[str, ...]:
    """How else a value can be carried out: base64, hex, UTF-16 in hex, reversed; each without its padding, in lower case where it does not matter."""
    plain, wide = value.encode(), value.encode("utf-16-le")
    return (base64.b64encode(plain).decode().rstrip("="), base64.urlsafe_b64encode(plain).decode().rstrip("="), plain.hex(), wide.hex(), value[::-1])


def _holds(text: str, folded: str, secret: str) -> bool:
    if _fold(secret) in folded:
        return True
    if len(secret.encode()) < 6:
        return False
    lower = "".join(one for one in text if not one.isspace())
    small = lower.lower()
    return any(one in lower or (one.islower() and one in small) for one in spellings(secret) if len(one) >= 6)


def _shares(folded: str, parts: Iterable[str]) -> bool:
    pieces = _pieces(tuple(parts))
    return bool(pieces) and any(
        folded[place : place + size] in pieces for size in (SHINGLE, LATIN_SHINGLE) for place in range(len(folded) - size + 1)
    )


@lru_cache(maxsize=64)
def _pieces(parts: tuple[str, ...]) -> frozenset[str]:
    out: set[str] = set()
    for one in parts:
        folded = _fold(one)
        for size in (SHINGLE, LATIN_SHINGLE):
            for place in range(len(folded) - size + 1):
                piece = folded[place : place + size]
                if size == LATIN_SHINGLE or sum(not character.isascii() for character in piece) * 2 > size:
                    out.add(piece)
    return frozenset(out)


def _fold(text: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKC", text).lower() if one.isalnum())


def _technical(text: str) -> str:
    """A network address, private key or token by its shape; "" for none."""
    folded = unicodedata.normalize("NFKC", text)
    if "-----BEGIN" in folded or "PRIVATE KEY" in folded:
        return "key"
    run = "".join(one if one.isascii() and (one.isdigit() or one == ".") else " " for one in folded).split()
    for one in run:
        numbers = one.strip(".").split(".")
        if len(numbers) == 4 and all(part.isdigit() and len(part) <= 3 and int(part) <= 255 for part in numbers):
            return "network"
    tokens = "".join(one if one.isascii() and (one.isalnum() or one in "_-") else " " for one in folded).split()
    for one in tokens:
        if len(one) >= 32 and any(c.isdigit() for c in one) and any(c.isalpha() for c in one):
            return "key"
    return ""


def _leak(what: str, zh: str, en: str) -> Verdict:
    return Verdict(f"leak-{what}", f"答案带出了{zh}，因此不显示，已留证", f"the answer carries {en} out, so it is not shown; this is recorded", "ANSWER_LEAK")


__all__ = ["LATIN_SHINGLE", "SHINGLE", "LeakList", "scan", "spellings"]
