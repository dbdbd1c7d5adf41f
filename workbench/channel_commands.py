"""Words and options of `workbench channels`, `stage`, `duty` and `risks`; cli.py adds them. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

LEVELS = ("low", "middle", "high")
STAGES = ("internal", "invited", "open")


def add_channel_commands(commands: Any, add: Callable[..., Any], parser_class: type[argparse.ArgumentParser]) -> None:
    """add(verbs, name, handler, text): as in cli.py."""

    def group(name: str, module: str, told: str) -> Callable[..., Any]:
        verbs = commands.add_parser(name, help=told).add_subparsers(dest="verb", required=True, parser_class=parser_class, metavar="VERB")

        def verb(word: str, handler: str, text: str) -> Any:
            command = add(verbs, word, f"{module}:{handler}", text)
            command.add_argument("--party", required=True, help="机构 / institution")
            return command

        return verb

    _channels(group("channels", "channels", "办公系统与客户端的接入 / how the office system and the customers' app ask"))
    _stages(group("stage", "stages", "试点阶段 / stages of the trial"))
    _duty(group("duty", "registers", "值班表 / duty roster"))
    _risks(group("risks", "registers", "风险登记 / risk register"))


def _reason(command: Any) -> None:
    command.add_argument("--reason", required=True, metavar="TEXT", help="理由 / reason")


def _channels(verb: Callable[..., Any]) -> None:
    verb("list", "listed", "渠道凭据 / credentials of channels")
    added = verb("add", "added", "新增渠道凭据，密钥写入文件，待另一人确认 / add a credential; its secret goes into a file, and another person confirms it")
    added.add_argument("--name", required=True, metavar="NAME", help="名称，如 junhong-app / name, such as junhong-app")
    added.add_argument("--channel", required=True, choices=("internal", "client"), help="internal 办公系统，client 客户端 / office system or customers' app")
    added.add_argument("--role", default="adviser", metavar="ROLE", help="以哪个岗位提问 / role under which it asks")
    added.add_argument("--per-minute", type=int, default=60, metavar="N", help="每分钟至多多少次 / most requests a minute")
    added.add_argument("--days", type=int, default=180, metavar="N", help="多少天后到期，至多 366 / ends after so many days, at most 366")
    added.add_argument("--out", metavar="FILE", help="密钥文件，默认在机构的 exports 文件夹 / file of the secret, default in the institution's folder exports")
    _reason(added)
    for word, handler, text in (("confirm", "confirmed", "确认另一人新增的凭据 / confirm a credential that another person added"), ("revoke", "revoked", "立即撤销 / revoke it at once")):
        command = verb(word, handler, text)
        command.add_argument("--name", required=True, metavar="NAME", help="名称 / name")
        _reason(command)
    app = verb("app", "app", "模拟客户端：客户看到什么 / a simulated app: what a customer sees")
    app.add_argument("--question", default="", metavar="TEXT", help="问题，缺省为逐行对话 / question, default a conversation line by line")
    app.add_argument("--customer", required=True, metavar="PHONE", help="已登录客户的手机号，只用于核对 / phone of the signed-in customer, looked up only")
    office = verb("office", "office", "模拟办公系统：替员工提问 / a simulated office system: asks for a member of staff")
    office.add_argument("--question", default="", metavar="TEXT", help="问题，缺省为逐行对话 / question, default a conversation line by line")
    office.add_argument("--staff", default="adviser", metavar="ACCOUNT", help="员工账号 / account of the member of staff")
    office.add_argument("--class", dest="client_class", default="", choices=("", "C1", "C2", "C3", "C4", "C5"), help="所问客户的风险等级 / risk class of the customer it is about")
    for command, name in ((app, "junhong-app"), (office, "office")):
        command.add_argument("--scenario", default="advice", metavar="NAME", help="场景 / scenario")
        command.add_argument("--lang", default="zh", choices=("zh", "en"), help="语言 / language")
        command.add_argument("--credential", default="", metavar="FILE", help=f"密钥文件，默认为 channels add --name {name} 所写 / file of the secret, default the one of channels add --name {name}")
        command.set_defaults(credential_name=name)


def _stages(verb: Callable[..., Any]) -> None:
    verb("show", "show", "现在的阶段与各次变更的依据 / the stage and what each step rests on")
    proposed = verb("propose", "propose", "提出下一阶段，附这段时间的评价报告 / propose the next stage with the report of a period")
    proposed.add_argument("--to", required=True, choices=STAGES[1:], help="下一阶段 / next stage")
    proposed.add_argument("--from-day", default="", metavar="YYYY-MM-DD", help="报告起日，默认前 30 天 / first day of the report, default the last 30")
    proposed.add_argument("--to-day", default="", metavar="YYYY-MM-DD", help="报告止日，默认今天 / last day of the report, default today")
    proposed.add_argument("--filing", default="", metavar="TEXT", help="open 须写明的备案变更或批复文号 / number of the changed filing or approval, needed for open")
    _reason(proposed)
    decided = verb("decide", "decide", "另一人决定 / decided by another person")
    decided.add_argument("--number", type=int, required=True, metavar="N", help="第几次变更 / number of the step")
    decided.add_argument("--report", required=True, metavar="SM3", help="所看依据的 SM3 / SM3 of the report that was read")
    decided.add_argument("--decline", action="store_true", help="不通过 / decline it")
    _reason(decided)
    closed = verb("close", "close", "立即退回前面的阶段，一人即可 / back to an earlier stage at once, by one person")
    closed.add_argument("--to", default="internal", choices=STAGES[:2], help="退回到 / back to")
    _reason(closed)


def _duty(verb: Callable[..., Any]) -> None:
    verb("list", "duty", "谁在值班，冻结窗口有无空档 / who is on duty, and gaps in freeze windows")
    added = verb("add", "duty_added", "排一个班次 / put a turn on the roster")
    added.add_argument("--person", required=True, metavar="ACCOUNT", help="值班人账号 / account of who is on duty")
    added.add_argument("--from", dest="from_", required=True, metavar="YYYY-MM-DDTHH:MM", help="起（北京时间） / begins, Asia/Shanghai")
    added.add_argument("--until", required=True, metavar="YYYY-MM-DDTHH:MM", help="止（北京时间） / ends, Asia/Shanghai")
    added.add_argument("--note", default="", metavar="TEXT", help="备注 / note")
    removed = verb("remove", "duty_removed", "取消一个班次 / take a turn off the roster")
    removed.add_argument("--duty", type=int, required=True, metavar="N", help="班次编号 / number of the turn")
    _reason(removed)
    exported = verb("export", "duty_exported", "导出为日历文件 / export as a calendar file")
    exported.add_argument("--out", metavar="FILE", help="文件 / file")


def _risks(verb: Callable[..., Any]) -> None:
    verb("list", "risks", "风险，逾期的在前 / risks, those overdue first")
    added = verb("add", "risk_added", "登记一项风险 / add a risk")
    added.add_argument("--title", required=True, metavar="TEXT", help="风险 / what it is")
    added.add_argument("--level", required=True, choices=LEVELS, help="等级 / level")
    added.add_argument("--owner", required=True, metavar="ACCOUNT", help="负责人账号 / account of its owner")
    added.add_argument("--due", required=True, metavar="YYYY-MM-DD", help="期限 / due day")
    for word, text in (("change", "变更一项风险 / change a risk"), ("close", "关闭一项风险 / close a risk")):
        changed = verb(word, "risk_changed", text)
        changed.add_argument("--risk", type=int, required=True, metavar="N", help="编号 / number")
        _reason(changed)
        if word == "change":
            changed.add_argument("--level", default="", choices=("", *LEVELS), help="等级 / level")
            changed.add_argument("--owner", default="", metavar="ACCOUNT", help="负责人账号 / account of its owner")
            changed.add_argument("--due", default="", metavar="YYYY-MM-DD", help="期限 / due day")
            changed.add_argument("--state", default="", choices=("", "open", "watched"), help="状态 / state")
        else:
            changed.set_defaults(level="", owner="", due="", state="closed")
    exported = verb("export", "risks_exported", "导出为 CSV / export as CSV")
    exported.add_argument("--out", metavar="FILE", help="文件 / file")
