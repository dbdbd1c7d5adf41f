"""What an attack came to: values, no work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """The check that found it: a short name and what people call it."""

    name: str
    zh: str
    en: str


AUDIT = Check("audit", "审计（重算全部正文）", "the audit, which re-hashes every body")
MIRROR = Check("mirror", "其他机构的镜像（共签前核对）", "the mirrors of the others, before they co-sign")
GOSSIP = Check("heads", "其他机构互相出示检查点", "the others, who show each other signed heads")
VERIFY = Check("verify", "收据离线核对", "offline verification of a receipt")
DOCUMENTS = Check("documents", "签署文件核对（审计的一部分）", "the check of signed forms, part of the audit")
CLOCK = Check("clock", "时钟核对（审计的一部分）", "the check of clocks, part of the audit")


@dataclass(frozen=True, slots=True)
class Located:
    """One place that does not hold.

    log, index: whose log, which entry (None when it is about a head only). field: what differs in it, "" for the whole
    entry. problem: code of the check. party: whose staff must act; zh, en: the sentence, which says what they must do.
    """

    log: str
    index: int | None
    field: str
    problem: str
    party: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """done_zh, done_en: what the attacker did to the copy. check: what found it. located: the places, the sought one first.

    Empty `located` means that nothing was found: the laboratory then says so, and a test fails.
    """

    done_zh: str
    done_en: str
    check: Check
    located: Sequence[Located]
