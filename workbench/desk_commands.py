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
    _complaints(group("complaints", "投诉 / complaints"))
    _assessment(group("assessment", "影响评估、处理记录、泄露通知 / assessments, processing records, breach notices"))


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


def _complaints(verb: Callable[..., Any]) -> None:
    found = verb("list", "投诉列表 / list complaints")
    found.add_argument("--state", default="", metavar="STATE", help="OPEN HANDLING CLOSED，open 为未办结 / open for every open one")
    found.add_argument("--overdue", action="store_true", help="只看逾期未告知 / overdue only")
    tasks = verb("tasks", "任务与整改 / tasks and rectification")
    tasks.add_argument("--overdue", action="store_true", help="只看逾期 / overdue only")
    tasks.add_argument("--open", action="store_true", help="只看未办结 / open only")
    verb("groups", "专项小组 / task groups")
    note = verb("note", "登记投诉 / register a complaint")
    _person(note)
    note.add_argument("--channel", required=True, metavar="CHANNEL", help="web post phone e-mail fax counter")
    note.add_argument("--category", default="other", metavar="CATEGORY", help="unwanted-contact consent data-leak wrong-data product service other")
    note.add_argument("--facts", required=True, metavar="TEXT", help="事实 / what happened")
    note.add_argument("--job", default="", metavar="J-…", help="涉及的求交 / intersection it is about")
    note.add_argument("--marketing", action="store_true", help="以营销岗登记 / as marketing")
    named = {
        "show": "查看一件投诉 / read one complaint", "handle": "接手 / take it over", "step": "记录一步 / write a step",
        "told": "记录已告知进展 / the customer was told", "stop-contact": "停止联系，立即生效 / stop contact, at once",
        "attach": "添加附件 / attach a file", "task": "派出任务或整改 / set a task", "group": "成立专项小组 / open a task group",
        "evidence-pack": "导出证据包 / export the evidence", "liability": "认定责任主体 / assess liability",
        "compensation": "登记补偿约定，不付款 / record a compensation, nothing is paid", "close": "办结 / close",
        "reopen": "重新办理 / open again",
    }  # fmt: skip
    made = {}
    for word, text in named.items():
        made[word] = verb(word, text)
        made[word].add_argument("complaint", metavar="K-…", help="投诉编号 / number of the complaint")
    made["handle"].add_argument("--category", default="", metavar="CATEGORY", help="类别 / category")
    made["handle"].add_argument("--major", action="store_true", help="重大投诉 / a major one")
    made["step"].add_argument("kind", metavar="KIND", help="contact negotiation mediation litigation arbitration settlement progress")
    for word in ("step", "told"):
        made[word].add_argument("--text", required=True, metavar="TEXT", help="内容 / what happened")
    made["stop-contact"].add_argument("--purpose", default="", metavar="PURPOSE", help="只停此用途 / this purpose only")
    made["stop-contact"].add_argument("--recipient", default="", metavar="PARTY", help="只停此接收方 / this recipient only")
    made["attach"].add_argument("file", metavar="FILE", help="文件 / file")
    made["attach"].add_argument("--note", default="", metavar="TEXT", help="说明 / note")
    made["task"].add_argument("--text", required=True, metavar="TEXT", help="要做什么 / what is to be done")
    made["task"].add_argument("--owner", required=True, metavar="WHO", help="责任人或部门 / who does it")
    made["task"].add_argument("--due", required=True, metavar="DAY", help="期限 YYYY-MM-DD / day")
    made["task"].add_argument("--rectification", action="store_true", help="属整改方案 / part of the rectification plan")
    made["group"].add_argument("--invite", nargs=3, action="append", required=True, metavar=("PARTY", "DAY", "TEXT"), help="机构、期限、任务 / institution, day, task")
    made["evidence-pack"].add_argument("--out", required=True, metavar="FILE.zip", help="写入文件 / write to a file")
    made["liability"].add_argument("--liable", required=True, metavar="WHO", help="责任主体 / who is liable")
    made["liability"].add_argument("--basis", required=True, metavar="TEXT", help="依据 / on what facts")
    made["liability"].add_argument("--entry", action="append", required=True, metavar="PARTY/INDEX", help="所依据的证据 / evidence it rests on")
    made["liability"].add_argument("--package", default="", metavar="SM3", help="证据包 SM3 / SM3 of the evidence package")
    made["compensation"].add_argument("--fen", type=int, required=True, metavar="N", help="金额，分 / amount in fen")
    made["compensation"].add_argument("--payer", required=True, metavar="WHO", help="由谁承担 / who bears it")
    made["compensation"].add_argument("--day", required=True, metavar="DAY", help="约定日 / day of the agreement")
    made["compensation"].add_argument("--text", default="", metavar="TEXT", help="说明 / note")
    made["close"].add_argument("outcome", metavar="OUTCOME", help="upheld partly-upheld not-upheld settled taken-back")
    for word in ("close", "reopen"):
        made[word].add_argument("--reason", required=True, metavar="TEXT", help="理由 / reason")
    done = verb("done", "办结任务 / finish a task")
    done.add_argument("task", metavar="T-…", help="任务编号 / number of the task")
    done.add_argument("--result", required=True, metavar="TEXT", help="结果 / result")
    read = verb("read-file", "取出附件 / read an attachment")
    read.add_argument("attachment", metavar="F-…", help="附件编号 / number of the attachment")
    read.add_argument("--reason", required=True, metavar="TEXT", help="理由 / reason")
    read.add_argument("--out", required=True, metavar="FILE", help="写入文件 / write to a file")


def _assessment(verb: Callable[..., Any]) -> None:
    verb("list", "影响评估与项目阶段 / assessments and the stage")
    status = verb("status", "某任务是否有影响评估 / whether one covers a job")
    draft = verb("draft", "起草，自动预填 / draft, pre-filled")
    for command in (status, draft):
        command.add_argument("--job", default="", metavar="J-…", help="求交编号 / intersection")
        command.add_argument("--purpose", default="", metavar="PURPOSE", help="用途 / purpose")
        command.add_argument("--recipient", default="", metavar="PARTY", help="接收方 / recipient")
    draft.add_argument("--before", default="", metavar="A-…", help="沿用哪一份的文字 / whose words are taken over")
    named = {
        "show": "查看一份 / read one", "write": "填写 / write", "submit": "提交 / submit", "approve": "第二人批准 / approve as second person",
        "give-back": "退回 / send back", "revoke": "撤销 / revoke", "export": "导出报告 / export the report",
    }  # fmt: skip
    made = {}
    for word, text in named.items():
        made[word] = verb(word, text)
        made[word].add_argument("assessment", metavar="A-…", help="影响评估编号 / number of the assessment")
    for name, text in (
        ("necessity", "目的与必要性 / purpose and necessity, PIPL 56 (1)"), ("impact", "权益影响与风险 / effect and risks, PIPL 56 (2)"),
        ("measures", "保护措施 / measures, PIPL 56 (3)"), ("residual", "剩余风险 / residual risk"), ("conditions", "条件 / conditions"),
    ):  # fmt: skip
        made["write"].add_argument(f"--{name}", default="", metavar="TEXT", help=text)
    made["write"].add_argument("--risk", default="", metavar="LEVEL", help="low medium high")
    made["write"].add_argument("--conclusion", default="", metavar="WORD", help="proceed conditions stop")
    made["write"].add_argument("--valid-days", type=int, default=365, metavar="N", help="有效天数 / days it covers")
    made["approve"].add_argument("--role", default="approver", choices=("approver", "compliance"), help="岗位 / role")
    for word in ("give-back", "revoke"):
        made[word].add_argument("--reason", required=True, metavar="TEXT", help="理由 / reason")
    made["export"].add_argument("--out", required=True, metavar="FILE.zip", help="写入文件 / write to a file")
    records = verb("records", "处理记录，导出 CSV 或 JSON / processing records as CSV or JSON")
    records.add_argument("--from", dest="from_day", metavar="DAY", help="起日 YYYY-MM-DD / first day")
    records.add_argument("--to", dest="to_day", metavar="DAY", help="止日，含 / last day, included")
    records.add_argument("--format", default="csv", choices=("csv", "json"), help="格式 / format")
    records.add_argument("--out", required=True, metavar="FILE", help="写入文件 / write to a file")
    verb("breaches", "泄露事件与演练 / breaches and drills")
    breach = verb("breach", "登记泄露事件或演练 / register a breach or a drill")
    breach.add_argument("kind", choices=("incident", "drill"), help="事件或演练 / incident or drill")
    breach.add_argument("--what", required=True, metavar="TEXT", help="已知情况 / what is known")
    breach.add_argument("--job", action="append", default=[], metavar="J-…", help="涉及的求交 / intersection")
    breach.add_argument("--list", action="append", default=[], dest="lists", metavar="C-…", help="涉及的名单 / list")
    breach.add_argument("--from", dest="from_day", metavar="DAY", help="起日 / first day")
    breach.add_argument("--to", dest="to_day", metavar="DAY", help="止日，含 / last day")
    steps = {
        "affected": "受影响的人数与范围 / whom it affects, in numbers", "table": "导出受影响的人 / export whom it affects",
        "letters": "生成通知草稿 / make drafts of notices", "close-breach": "结束 / close",
    }  # fmt: skip
    found = {}
    for word, text in steps.items():
        found[word] = verb(word, text)
        found[word].add_argument("breach", metavar="B-…", help="编号 / number")
    for word in ("table", "letters"):
        found[word].add_argument("--out", required=True, metavar="FILE", help="写入文件 / write to a file")
    for name, text in (
        ("cause", "原因 / cause"), ("harm", "可能的危害 / possible harm"), ("done", "已采取的措施 / what was done"), ("advice", "个人可以做什么 / what persons can do"),
    ):  # fmt: skip
        found["letters"].add_argument(f"--{name}", nargs=2, required=True, metavar=("ZH", "EN"), help=text)
    found["letters"].add_argument("--contact", nargs=2, default=("", ""), metavar=("ZH", "EN"), help="联系方式 / contact")
    found["letters"].add_argument("--do-not-tell", action="store_true", help="不通知个人 / persons are not told (PIPL 57)")
    found["letters"].add_argument("--reason", required=True, metavar="TEXT", help="通知与否的理由 / reason to tell or not")
    found["close-breach"].add_argument("--report", required=True, metavar="TEXT", help="报告 / report")
    found["close-breach"].add_argument("--plan", required=True, metavar="TEXT", help="应急预案的修改 / what changed in the plan")


def _person(command: Any) -> None:
    command.add_argument("--phone", default="", help="手机号 / phone")
    command.add_argument("--id-no", dest="id_no", default="", help="身份证号 / ID number")


__all__ = ["add_desk_commands"]
