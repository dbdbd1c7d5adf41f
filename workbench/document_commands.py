"""Words and options of `workbench documents`; cli.py adds them. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

KINDS = ("prompt", "question", "quote", "fund", "news")
CLASSES = ("public", "internal", "important", "personal")
SCENARIOS = ("advice", "research", "banking", "marketing", "risk", "together", "running")

HANDLERS = {"import": "bring", "list": "listed"}
"""Verbs that Python has another use for."""


def add_document_commands(commands: Any, add: Callable[..., Any], parser_class: type[argparse.ArgumentParser]) -> None:
    """add(verbs, name, handler, text): as in cli.py."""
    verbs = commands.add_parser("documents", help="问答用的资料 / documents for questions").add_subparsers(
        dest="verb", required=True, parser_class=parser_class, metavar="VERB"
    )

    def verb(word: str, told: str) -> Any:
        command = add(verbs, word, f"documents:{HANDLERS.get(word, word)}", told)
        command.add_argument("--party", required=True, help="机构 / institution")
        return command

    brought = verb("import", "导入一个文件 / import a file")
    brought.add_argument("file", metavar="FILE", help=".csv .tsv .txt .xlsx .jsonl .ndjson .pdf .md")
    brought.add_argument("--kind", required=True, choices=KINDS, help="资料种类 / kind of document")
    brought.add_argument("--source", default="", metavar="TEXT", help="来源，行内没有写时用 / source, where a row names none")
    brought.add_argument("--time", default="", metavar="DATE", help="时间，行内没有写时用 / time, where a row names none")
    brought.add_argument("--class", dest="data_class", choices=CLASSES, default="internal", help="最低分级 / least class")
    brought.add_argument("--synthetic", action="store_true", help="合规岗声明全部为合成资料 / compliance states that all of it is synthetic")
    made = verb("synthetic", "导入一份合成语料 / import a synthetic corpus")
    made.add_argument("--seed", type=int, default=20261122, metavar="S", help="种子 / seed")
    listed = verb("list", "资料与资料包 / documents and corpora")
    listed.add_argument("--kind", choices=KINDS, default="", help="只看此种 / of this kind only")
    listed.add_argument("--source", default="", metavar="TEXT", help="只看此来源 / of this source only")
    listed.add_argument("--limit", type=int, default=100, metavar="N", help="份数 / how many")
    listed.add_argument("--after", default="", metavar="DOCUMENT", help="从此份之后 / after this one")
    removed = verb("remove", "移除资料，资料包随即停用 / remove documents; corpora that hold them are given up")
    removed.add_argument("document", nargs="*", metavar="DOCUMENT", help="资料编号 / names of documents")
    removed.add_argument("--source", default="", metavar="TEXT", help="此来源的全部 / all of a source")
    removed.add_argument("--reason", required=True, metavar="TEXT", help="理由 / reason")
    indexed = verb("index", "建立资料包 / make the corpus")
    indexed.add_argument("--words-only", action="store_true", help="不用向量 / without embeddings")
    indexed.add_argument("--synthetic-only", action="store_true", help="只用合成资料，供调试租约 / of synthetic documents only, for leases in debug")
    verb("usages", "资料使用许可 / usages of documents")
    granted = verb("grant", "授予资料使用许可 / grant a usage")
    granted.add_argument("--kind", required=True, choices=KINDS, help="资料种类 / kind of document")
    granted.add_argument("--source", default="", metavar="TEXT", help="限此来源 / of this source only")
    granted.add_argument("--scenario", required=True, choices=SCENARIOS, help="场景 / scenario")
    granted.add_argument("--role", required=True, action="append", metavar="ROLE", help="岗位，可多次 / role, repeatable")
    granted.add_argument("--most", type=int, default=0, metavar="N", help="次数上限，0 为不限 / most uses, 0 for no limit")
    granted.add_argument("--until", required=True, metavar="TIME", help="到期，如 2027-01-01T00:00:00+08:00 / end")
    granted.add_argument("--reason", required=True, metavar="TEXT", help="理由 / reason")
    revoked = verb("revoke", "撤销资料使用许可 / revoke a usage")
    revoked.add_argument("usage", metavar="U-…", help="许可编号 / number of the usage")
    revoked.add_argument("--reason", required=True, metavar="TEXT", help="理由 / reason")
