"""Words and options of `workbench rights`, `workbench complaints` and `workbench assessment`; cli.py adds them. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Add = Callable[..., Any]


def add_desk_commands(commands: Any, add: Add, parser_class: type[argparse.ArgumentParser]) -> None:
    """add(verbs, name, handler, text): as in cli.py."""

    def group(name: str, text: str) -> Callable[..., Any]:
        verbs = commands.add_parser(name, help=text).add_subparsers(
            dest="verb", required=True, parser_class=parser_class, metavar="VERB"
        )

        def verb(word: str, told: str) -> Any:
            command = add(verbs, word, f"desks:{name}", told)
            command.add_argument("--party", required=True, help="机构 / institution")
            return command

        return verb

    _rights(group("rights", "权利请求 / rights requests"))


def _rights(verb: Callable[..., Any]) -> None:
    found = verb("list", "权利请求列表 / list rights requests")
    found.add_argument("--state", default="", metavar="STATE", help="状态，open 为未办结 / state, open for every open one")
    found.add_argument("--kind", default="", metavar="KIND", help="access、correction… / kind")
    found.add_argument("--overdue", action="store_true", help="只看逾期 / overdue only")
    receive = verb("receive", "受理一项请求 / receive a request")
    receive.add_argument("kind", metavar="KIND", help="access copy portability correction deletion restriction explanation complaint")
    _person(receive)
    receive.add_argument("--channel", default="counter", metavar="CHANNEL", help="web post phone e-mail fax counter")
    receive.add_argument("--applicant", default="subject", metavar="WHO", help="subject agent guardian kin")
    receive.add_argument("--authority", default="", metavar="TEXT", help="代理依据 / on what the person acts")
    receive.add_argument("--details", default="", metavar="TEXT", help="客户原话 / what the customer said")
    receive.add_argument("--change", nargs="*", default=[], metavar="COLUMN=VALUE", help="更正 / for a correction")
    named = {
        "show": "查看一项请求 / read one request", "identify": "记录核身 / record the identity check",
        "decide": "决定 / decide", "extend": "延长期限 / extend the time", "answer": "生成答复 / make the answer",
        "explain": "解释自动化决策 / explain automated decisions", "evidence-pack": "导出证据包 / export the evidence",
        "lift": "结束限制 / end a restriction", "close": "客户撤回请求 / the customer took it back",
    }  # fmt: skip
    made = {}
    for word, text in named.items():
        made[word] = verb(word, text)
        made[word].add_argument("request", metavar="R-…", help="权利请求编号 / number of the request")
    made["identify"].add_argument("--method", required=True, metavar="METHOD", help="in-person video signed-letter e-signature one-time-code attorney-document")
    made["identify"].add_argument("--failed", action="store_true", help="核身未通过 / the check failed")
    made["identify"].add_argument("--note", default="", metavar="TEXT", help="说明 / note")
    made["decide"].add_argument("decision", choices=("granted", "partly", "refused"), help="决定 / decision")
    made["extend"].add_argument("--days", required=True, type=int, metavar="N", help="增加的工作日 / working days added")
    for word in ("decide", "extend", "lift", "close"):
        made[word].add_argument("--reason", required=True, metavar="TEXT", help="理由，至少 5 个字 / reason, 5 characters or more")
    for word in ("answer", "evidence-pack"):
        made[word].add_argument("--out", required=True, metavar="FILE.zip", help="写入文件 / write to a file")


def _person(command: Any) -> None:
    command.add_argument("--phone", default="", help="手机号 / phone")
    command.add_argument("--id-no", dest="id_no", default="", help="身份证号 / ID number")


__all__ = ["add_desk_commands"]
