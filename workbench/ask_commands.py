"""Words and options of `workbench ask`; cli.py adds them. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCENARIOS = {"advice": "投顾", "research": "投研", "banking": "投行", "marketing": "运营", "risk": "风控", "together": "协作", "running": "运维"}
"""Name -> as people call it; both are taken."""


def _scenario(text: str) -> str:
    return next((name for name, called in SCENARIOS.items() if text == called), text)


def add_ask_commands(commands: Any, add: Callable[..., Any]) -> None:
    """add(verbs, name, handler, text): as in cli.py."""
    asked = add(commands, "ask", "asking:ask", "向沙箱中的模型提问（被规则拒绝时退出码 2） / ask a model in a sandbox (exit status 2 where a rule refuses)")
    asked.add_argument("question", metavar="QUESTION", help="问题 / question")
    asked.add_argument("--party", required=True, help="机构 / institution")
    asked.add_argument("--scenario", type=_scenario, choices=tuple(SCENARIOS), default="advice", help="场景，也可写作投研等中文名 / scenario, also by its Chinese name")
    asked.add_argument("--model", default="", metavar="NAME", help="镜像名，缺省为所租的 / name of an image, default the leased one")
    asked.add_argument("--documents", default="", metavar="KINDS", help="资料种类，如 fund,news / kinds of documents, such as fund,news")
    asked.add_argument("--class", dest="client_class", default="", choices=("", "C1", "C2", "C3", "C4", "C5"), help="客户风险等级 / risk class of the customer")
    asked.add_argument("--with", dest="with_files", action="append", default=[], metavar="FILE", help="随问发送的文件，可多次，仅用于这一问 / file sent with this question alone, may be repeated")
    asked.add_argument("--with-kind", default="news", choices=("prompt", "question", "quote", "fund", "news"), help="这些文件的资料种类 / kind of documents of these files")
    asked.add_argument("--preview", action="store_true", help="只看脱敏与费用，不发送 / redaction and cost only, nothing is sent")
    drafts = asked.add_mutually_exclusive_group()
    drafts.add_argument("--stream", dest="stream", action="store_true", default=True, help="草稿随到随显（标准错误） / show the draft as it comes, on standard error (default)")
    drafts.add_argument("--no-stream", dest="stream", action="store_false", help="只显示最后的回答 / the ended answer only")
