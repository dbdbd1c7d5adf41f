"""The command `workbench`: words and options. Exit status 0 done, 2 refused by a rule, 1 failed, 64 wrong usage.

With --json exactly one JSON object goes to standard output; everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date
from importlib import import_module
from typing import NoReturn

from workbench import __version__
from workbench.ask_commands import add_ask_commands
from workbench.channel_commands import add_channel_commands
from workbench.desk_commands import add_desk_commands
from workbench.document_commands import add_document_commands
from workbench.lease_commands import add_lease_commands, spelled_out
from workbench.qkd_commands import add_qkd_commands

WRONG_USAGE = 64
Handler = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """argparse with our exit status for wrong usage."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(WRONG_USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = build_parser().parse_args(spelled_out(sys.argv[1:] if arguments is None else arguments))
    # Imported late: a command loads only what it needs, so that --help answers at once.
    common = import_module("workbench.commands.common")
    module, _, name = options.handler.partition(":")
    handler: Handler = getattr(import_module(f"workbench.commands.{module}"), name)
    return int(common.each(handler)(options))


def build_parser() -> Parser:
    """All commands; docs/commands.md is generated from this."""
    parser = Parser(prog="workbench", description="证据工作台 / Evidence Workbench")
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser, metavar="COMMAND")
    _workspace_commands(commands)
    _list_commands(commands)
    _intersect_command(commands)
    _evidence_commands(commands)
    _ledger_commands(commands)
    add_desk_commands(commands, _add, Parser)
    add_qkd_commands(commands, _add, Parser)
    add_document_commands(commands, _add, Parser)
    add_lease_commands(commands, _add, Parser)
    add_ask_commands(commands, _add)
    add_channel_commands(commands, _add, Parser)
    return parser


def _add(commands: argparse._SubParsersAction[Parser], name: str, handler: str, text: str, *, folder: bool = True) -> Parser:
    command = commands.add_parser(name, help=text, description=text)
    if folder:
        command.add_argument("dir", metavar="DIR", help="工作区目录 / folder of the workspace")
    command.add_argument("--json", action="store_true", help="结果为一个 JSON 对象 / one JSON object on standard output")
    command.set_defaults(handler=handler)
    return command


def _workspace_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    demo = _add(commands, "demo", "demo:demo", "建立并启动演示 / make and start the demonstration", folder=False)
    demo.add_argument("dir", metavar="DIR", nargs="?", default="demo", help="工作区目录 / folder of the workspace")
    demo.add_argument("--no-browser", action="store_true", help="不打开浏览器 / do not open a browser")
    demo.add_argument("--without-provider", action="store_true", help="不建算力方 telecom，不演示问答 / no provider telecom, no questions to a model")
    alternatives = demo.add_mutually_exclusive_group()
    alternatives.add_argument("--check", action="store_true", help="跑主任务、核收据、停止 / run the main job, verify, stop")
    alternatives.add_argument("--over-qkd", action="store_true", help="主任务的两家之间只走通道 qkd，首次多等一段 / the two institutions of the main job call one another over the channel qkd only; a first start takes longer")
    demo.add_argument("--customers", type=_positive, default=20_000, metavar="N", help="甲证券的客户数 / customers of the broker")
    demo.add_argument("--seed", type=int, default=20261121, metavar="S", help="合成数据种子 / seed of the synthetic data")
    init = _add(commands, "init", "nodes:init", "建立工作区 / make a workspace")
    init.add_argument("--parties", default="", metavar="LIST", help="broker,cardnet,bank")
    filling = init.add_mutually_exclusive_group()
    filling.add_argument("--empty", action="store_true", help="不放数据 / without data")
    filling.add_argument("--customers", type=_positive, default=20_000, metavar="N", help="合成客户数 / synthetic customers")
    init.add_argument("--seed", type=int, default=20261121, metavar="S", help="种子 / seed")
    init.add_argument("--host", default="", metavar="IP", help="伙伴访问的地址，默认本机 / address for partners, default loopback")
    init.add_argument("--project", default="", metavar="NAME", help="项目名，各机构须一致 / name that all institutions agree on")
    init.add_argument("--kind", choices=("demo", "test", "production"), help="工作区性质 / kind of workspace")
    up = _add(commands, "up", "nodes:up", "启动节点 / start the nodes")
    up.add_argument("--detach", action="store_true", help="留在后台 / leave them running")
    for name, handler, text in (
        ("password", "nodes:password", "更换自己的密码 / change one's own password"),
        ("first-password", "nodes:first_password", "重新签发未曾更换的一次性密码 / issue a one-time password anew"),
    ):
        changing = _add(commands, name, handler, text)
        changing.add_argument("--party", required=True, help="机构 / institution")
        changing.add_argument("--account", required=True, help="账号 / account")
    _add(commands, "status", "nodes:status", "节点状态 / state of the nodes")
    _add(commands, "down", "nodes:down", "停止节点 / stop the nodes")
    _add(commands, "doctor", "nodes:doctor", "检查本机与工作区 / check machine and workspace")
    trust = commands.add_parser("trust", help="信任文件 / trust file")
    trust_verbs = trust.add_subparsers(dest="verb", required=True, parser_class=Parser, metavar="VERB")
    export = _add(trust_verbs, "export", "nodes:export_trust_file", "导出各机构共签公钥 / export all co-signing keys")
    export.add_argument("--out", metavar="FILE", help="写入文件 / write to a file")


def _list_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    importing = commands.add_parser("import", help="导入名单或授权 / import lists or consents")
    kinds = importing.add_subparsers(dest="what", required=True, parser_class=Parser, metavar="WHAT")
    customers = _add(kinds, "customers", "lists:import_customers", "导入客户名单 / import a customer list")
    consents = _add(kinds, "consents", "lists:import_consents", "导入客户授权 / import consents")
    _consent_file(consents)
    signed = _add(kinds, "forms", "capture:import_forms", "批量导入签署文件 / import signed forms in bulk")
    signed.add_argument("--documents", required=True, metavar="DIR|ZIP", help="签署文件 PDF、JPG、PNG / signed forms")
    signed.add_argument("--place", required=True, metavar="TEXT", help="网点或渠道 / branch or channel")
    signed.add_argument("--backdating", metavar="B-…", help="已批准的倒签 / an approved backdating")
    for command in (customers, signed):
        _table_file(command)
    customers.add_argument("--map", nargs="*", default=[], metavar="FIELD=HEADER", help="phone=手机")
    customers.add_argument("--name", help="名单名 / name of the list")
    customers.add_argument("--owner", help="责任部门 / owner")
    customers.add_argument("--source", default="内部业务系统 internal systems", help="来源 / source")
    customers.add_argument("--subjects", default="个人客户 individual customers", help="数据主体 / data subjects")
    customers.add_argument("--method", default="开户与服务中收集 collected in service", help="收集方式 / how collected")
    customers.add_argument("--data-class", default="C2", choices=("C1", "C2", "C3"), help="JR/T 0171 类别 / class")
    customers.add_argument("--as-of", metavar="DAY", type=_day, help="数据日期 YYYY-MM-DD / day of the data")
    customers.add_argument("--lawful-basis", default="consent", help="处理的合法性基础 / lawful basis")
    _erase_arguments(_add(commands, "erase", "erasing:erase", "即 consent erase / the same as consent erase"))
    consent = commands.add_parser("consent", help="授权 / consent")
    verbs = consent.add_subparsers(dest="verb", required=True, parser_class=Parser, metavar="VERB")
    _consent_file(_add(verbs, "import", "lists:import_consents", "即 import consents / the same as import consents"))
    withdraw = _add(verbs, "withdraw", "lists:withdraw", "撤回授权，立即生效 / withdraw, effective at once")
    withdraw.add_argument("--party", required=True, help="机构 / institution")
    withdraw.add_argument("--phone", help="手机号 / phone")
    withdraw.add_argument("--id-no", dest="id_no", help="身份证号 / ID number")
    withdraw.add_argument("--purpose", help="只撤回此目的 / this purpose only")
    withdraw.add_argument("--recipient", help="只撤回此接收方 / this recipient only")
    _who_asks(withdraw)
    withdraw.add_argument("--reason", default="", help="理由 / reason")
    decide = _add(verbs, "decide", "consents:decide", "一位客户此时可否使用（不可用时退出码 3） / may one customer be used (exit status 3 when not)")
    decide.add_argument("--party", required=True, help="机构 / institution")
    decide.add_argument("--phone", help="手机号 / phone")
    decide.add_argument("--id-no", dest="id_no", help="身份证号 / ID number")
    decide.add_argument("--purpose", required=True, help="目的 / purpose")
    decide.add_argument("--recipient", required=True, help="接收方 / recipient")
    decide.add_argument("--key", choices=("phone", "id_no"), default="phone", help="比对的标识 / identifier")
    decide.add_argument("--at", default="", metavar="TIME", help="时点，默认此刻 / instant, default now")
    decide.add_argument("--contact", default="", metavar="CHANNEL", help="联系渠道 / channel of contact")
    decide.add_argument("--category", action="append", default=[], metavar="CODE", help="还需的信息种类，可多次 / further personal information, repeatable")
    told = _add(verbs, "withdrawals", "erasing:withdrawals", "撤回与对方回执 / withdrawals and the partners' acknowledgements")
    told.add_argument("--party", required=True, help="机构 / institution")
    told.add_argument(
        "--state", choices=("waiting", "acknowledged", "overdue", "refused"), default="", help="只看此状态 / only in this state"
    )
    _erase_arguments(_add(verbs, "erase", "erasing:erase", "擦除一位客户 / erase one customer"))
    report = _add(verbs, "report", "erasing:report", "擦除报告与全部文件的查找结果 / reports of erasures and of the search in all files")
    report.add_argument("--party", required=True, help="机构 / institution")
    report.add_argument("--request", default="", metavar="REQUEST", help="只看这一项擦除 / only this erasure")
    _asking_commands(verbs)
    receipt = _add(verbs, "receipt", "receipts:receipt", "出具一份授权凭据 / issue one consent receipt")
    receipt.add_argument("--record", type=_positive, metavar="N", help="授权记录号 / number of the grant")
    receipt.add_argument("--customer", action="store_true", help="从标准输入读手机号或身份证号，一行一个 / read phone or ID number from standard input, one a line")
    receipt.add_argument("--id", dest="known", metavar="CR-…", help="只取已出具凭据的最新账本证明 / only the newest ledger proof of an issued receipt")
    receipt.add_argument("--out", required=True, metavar="FILE.json", help="写入文件，旁边另存 .html 与 .pdf / file to write; .html and .pdf beside it")
    issue = _add(verbs, "issue", "receipts:issue", "批量出具授权凭据 / issue consent receipts in bulk")
    issue.add_argument("--event", type=_positive, metavar="N", help="某次导入的授权 / grants of one import")
    issue.add_argument("--list", dest="list_id", metavar="LIST", help="某名单的客户 / customers of a list")
    issue.add_argument("--all-states", action="store_true", help="包括已撤回、到期的 / withdrawn and ended ones too")
    issue.add_argument("--pages", action="store_true", help="附可打印页，至多 2,000 份 / with pages to print, at most 2,000")
    issue.add_argument("--out", required=True, metavar="FILE.zip", help="写入文件 / write to a file")
    for command in (receipt, issue):
        command.add_argument("--party", required=True, help="机构 / institution")
        command.add_argument("--purpose", default="", help="目的 / purpose")
        command.add_argument("--recipient", default="", help="接收方 / recipient")


def _asking_commands(verbs: argparse._SubParsersAction[Parser]) -> None:
    ask = _add(verbs, "ask", "consent_asking:ask", "向一位客户征求同意，给出签署链接 / ask one customer for consent: a link to sign")
    ask.add_argument("--take-back", default="", metavar="A-…", help="收回一次征求 / take a question back")
    ask.add_argument("--way", choices=("page", "assisted"), default="page", help="客户自行，或员工陪同 / the customer alone, or beside staff")
    ask.add_argument("--otp-stated", action="store_true", help="由员工声明另行核对过一次性代码 / staff state that a one-time code was checked elsewhere")
    listed = _add(verbs, "asked", "consent_asking:asked", "征求记录 / the questions asked")
    states = ("SERVED", "OPENED", "SIGNED", "REFUSED", "EXPIRED", "CANCELLED", "COOLING")
    listed.add_argument("--state", choices=states, default="", help="只看此状态；COOLING 为冷却期内 / only in this state; COOLING: not asked again yet")
    listed.add_argument("--limit", type=_positive, default=50, metavar="N", help="至多几条 / at most")
    listed.add_argument("--before", default="", metavar="A-…", help="更早的 / earlier than this one")
    listed.add_argument("--customer", action="store_true", help="从标准输入读手机号或身份证号，只看此人 / of the person named on standard input")
    decline = _add(verbs, "decline", "consent_asking:decline", "登记客户口头拒绝 / record that a customer declined before staff")
    capture = _add(verbs, "capture", "consent_asking:capture", "代录一位客户的签署文件 / capture a signed form of one customer")
    capture.add_argument("file", metavar="FILE", help="PDF, JPG, PNG")
    capture.add_argument(
        "--method", required=True, choices=("wet-scan", "assisted", "ca-esign", "otp-stated", "voice"), help="签署方式 / how it was signed"
    )
    capture.add_argument("--begins", type=_day, metavar="DAY", help="生效日，默认此刻 / first day, default now")
    capture.add_argument("--initiative", choices=("staff", "customer"), default="staff", help="谁主动 / whose initiative")
    capture.add_argument("--signer", choices=("self", "guardian", "agent", "kin"), default="self", help="签署人 / who signed")
    capture.add_argument("--signer-name", default="", metavar="NAME", help="代签人姓名 / who signed for the customer")
    capture.add_argument("--signer-relation", default="", metavar="TEXT", help="与客户关系 / relation to the customer")
    capture.add_argument("--authority", default="", metavar="TEXT", help="代签的授权依据，如授权委托书 / basis of authority, such as a mandate")
    capture.add_argument("--authority-digest", default="", metavar="SM3", help="授权文件的 SM3 / SM3 of the document of authority")
    capture.add_argument("--backdating", default="", metavar="B-…", help="已批准的倒签 / an approved backdating")
    backdate = _add(verbs, "backdate", "consent_asking:backdate", "倒签：提议、第二人批准、查看 / backdating: propose, approve as a second person, list")
    backdate.add_argument("--earliest", type=_day, metavar="DAY", help="最早生效日 / earliest day a grant may begin")
    backdate.add_argument("--most", type=_positive, default=1, metavar="N", help="至多几条 / grants at most")
    backdate.add_argument("--reason", default="", help="理由，至少 10 个字 / reason, 10 characters or more")
    backdate.add_argument("--approve", default="", metavar="B-…", help="批准一项提议 / approve a proposal")
    for command in (ask, listed, decline, capture, backdate):
        command.add_argument("--party", required=True, help="机构 / institution")
    for command in (ask, decline, capture):
        is_needed = command is not ask  # a question that is taken back needs none of them
        command.description = f"{command.description}。手机号或身份证号从标准输入读，一行一个 / phone or ID number from standard input, one a line"
        command.add_argument("--purpose", required=is_needed, help="目的 / purpose")
        command.add_argument("--recipient", action="append", required=is_needed, help="接收方，可多次 / recipient, repeatable")
        command.add_argument("--place", required=is_needed, metavar="TEXT", help="网点或渠道 / branch or channel")
        command.add_argument("--identity", required=is_needed, metavar="TEXT", help="如何核身 / how the person was recognised")
    for command in (ask, capture):
        command.add_argument("--until", required=command is capture, type=_day, metavar="DAY", help="到哪一天（含） / last day")
        command.add_argument("--notice", default="", metavar="KEY@N", help="告知书版本 / version of the notice")


def _who_asks(command: Parser) -> None:
    command.add_argument(
        "--by", choices=("subject", "agent", "guardian", "kin"), default="subject",
        help="由谁提出：本人、受托人、监护人、近亲属 / who asks for it",
    )  # fmt: skip
    command.add_argument("--proof", default="", help="代为办理的证明文件编号 / reference of the proof, for who acts for the customer")


def _table_file(command: Parser) -> None:
    command.add_argument("--party", required=True, help="机构 / institution")
    command.add_argument("file", metavar="FILE", help="CSV, XLSX, Parquet")
    command.add_argument("--max-bad-share", type=_share, metavar="X", help="坏行上限 0 到 1 / largest share of bad rows")


def _consent_file(command: Parser) -> None:
    command.add_argument("--documents", metavar="DIR|ZIP", help="签署文件所在文件夹或 ZIP / folder or ZIP of the signed forms that rows name")
    command.add_argument("--backdating", default="", metavar="B-…", help="已批准的倒签 / an approved backdating")
    _table_file(command)


def _erase_arguments(erase: Parser) -> None:
    erase.add_argument("--party", required=True, help="机构 / institution")
    whom = erase.add_argument_group()
    whom.add_argument("--phone", help="手机号 / phone")
    whom.add_argument("--id-no", dest="id_no", help="身份证号 / ID number")
    whom.add_argument("--reason", default="", help="理由，至少 5 个字 / reason, 5 characters or more")
    whom.add_argument("--confirm", metavar="REQUEST", help="第二人确认 / confirm as the second person")
    _who_asks(erase)


def _intersect_command(commands: argparse._SubParsersAction[Parser]) -> None:
    run = _add(commands, "intersect", "intersect:intersect", "求交 / intersect two consented lists")
    run.add_argument("--party", required=True, help="提出机构 / proposing institution")
    run.add_argument("--with", dest="partner", required=True, metavar="PARTY", help="伙伴机构 / partner")
    run.add_argument("--purpose", required=True, help="目的 / purpose")
    run.add_argument("--key", choices=("phone", "id_no"), default="phone", help="比对的标识 / identifier")
    run.add_argument("--audience", default="", metavar="RULE", help='"资产档 in (A,B) and risk_level >= C3"')
    run.add_argument("--columns", default="", metavar="TAGS", help="输出的标签列，逗号分隔 / tag columns in the output")
    run.add_argument("--min-crowd", type=_positive, default=50, metavar="N", help="最小人群 / smallest crowd")
    run.add_argument("--timeout-s", type=_positive, default=600, metavar="S", help="总时限 / total time limit")
    run.add_argument("--auto-approve", action="store_true", help="测试工作区：以伙伴审批岗批准 / approve as the partner's approver")
    run.add_argument("--campaign", default="", metavar="NAME", help="活动名，只在本机构 / name of the campaign, kept here")
    run.add_argument("--out", metavar="FILE.csv", help="导出目标名单 / export the target list")


def _evidence_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    verify = _add(commands, "verify", "evidence:verify", "离线核对收据 / verify a receipt offline", folder=False)
    verify.add_argument("receipt", metavar="RECEIPT", help="收据或授权凭据 / receipt or consent receipt")
    verify.add_argument("--receipt", dest="anchor", metavar="anchor.json", help="授权凭据的账本证明 / ledger proof of a consent receipt")
    verify.add_argument("--form", metavar="FILE", help="授权所依据的签署文件 / signed form of the grant")
    verify.add_argument("--list", metavar="FILE.csv", help="连同名单核对 / check the exported list too")
    verify.add_argument("--trust", metavar="KEYS.json", help="钉住的公钥 / pinned keys")
    verify.add_argument(
        "--mldsa", metavar="PREFIX", action="append", default=[],
        help="这些前缀的种类只认带 ML-DSA-44 行的共签，可多次 / kinds that count only co-signatures with an ML-DSA-44 line, repeatable",
    )  # fmt: skip
    audit = _add(commands, "audit", "evidence:audit", "重算全部正文 / re-hash every body")
    audit.add_argument("--party", required=True, help="机构 / institution")
    audit.add_argument("--coverage", action="store_true", help="列出每个操作留下的证据 / the evidence every operation leaves")
    reading = _add(commands, "evidence", "evidence:evidence", "证据时间线 / timeline of evidence")
    reading.add_argument("--party", required=True, help="机构 / institution")
    reading.add_argument("--job", help="求交编号 / job")
    export = _add(commands, "export", "export:export", "导出证据包 / export an evidence package")
    export.add_argument("--party", required=True, help="机构 / institution")
    about = export.add_mutually_exclusive_group(required=True)
    about.add_argument("--job", help="求交编号 / job")
    about.add_argument("--campaign", metavar="NAME", help="活动名 / name of the campaign")
    about.add_argument("--customer-phone", metavar="PHONE", help="客户手机号 / phone of the customer")
    about.add_argument("--customer-id-no", metavar="ID", help="客户身份证号 / ID number of the customer")
    about.add_argument("--customer-token", metavar="TOKEN", help="客户代号 / token of the customer")
    about.add_argument("--from", dest="from_day", metavar="DAY", help="起日 YYYY-MM-DD / first day")
    export.add_argument("--to", dest="to_day", metavar="DAY", help="止日，含 / last day, included")
    export.add_argument("--open", action="store_true", help="开示本机构的字段 / open this institution's fields")
    export.add_argument("--name-customer", action="store_true", help="写明客户标识 / write the customer's identifier")
    export.add_argument("--out", required=True, metavar="FILE.zip", help="写入文件 / write to a file")
    attack = _add(commands, "attack", "attack:attack", "演示与测试：在副本上演练攻击 / rehearse an attack on a copy")
    attack.add_argument("--party", required=True, help="机构 / institution")
    attack.add_argument("name", metavar="NAME", help="edited-row …，list 列出全部 / list shows all")
    call = _add(commands, "call", "evidence:call", "按名称调用操作 / call an operation by name")
    call.add_argument("--party", required=True, help="机构 / institution")
    call.add_argument("--role", default="marketing", help="岗位 / role")
    call.add_argument("--confirm", action="store_true", help="重新输入密码 / give a fresh password for it")
    call.add_argument("operation", metavar="OPERATION", help="intersection.jobs")
    call.add_argument("request", nargs="?", default="{}", metavar="JSON", help="请求 / request")


def _ledger_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    ledger = commands.add_parser("ledger", help="账本 / the evidence ledger")
    verbs = ledger.add_subparsers(dest="verb", required=True, parser_class=Parser, metavar="VERB")
    status = _add(verbs, "status", "ledger:status", "条数、共签、落后、矛盾、锚定 / sizes, signatures, lag, contradictions, anchors")
    catch_up = _add(verbs, "catch-up", "ledger:catch_up", "补齐；旧副本从镜像取回 / catch up; restore an older copy from mirrors")
    members = _add(verbs, "members", "ledger:members", "成员与变更 / members and changes")
    propose = _add(verbs, "propose", "ledger:propose", "提议机构加入或退出 / propose that an institution joins or leaves")
    whom = propose.add_mutually_exclusive_group(required=True)
    whom.add_argument("--bundle", metavar="FILE.json", help="新成员的公开资料包 / public bundle of the new member")
    whom.add_argument("--leave", metavar="PARTY", help="退出的机构 / institution that leaves")
    approve = _add(verbs, "approve", "ledger:approve", "批准成员变更 / approve a change of members")
    approve.add_argument("change", metavar="CHANGE", help="变更编号 / id of the change")
    for command in (status, catch_up, members, propose, approve):
        command.add_argument("--party", required=True, help="机构 / institution")
    for command in (propose, approve):
        command.add_argument("--role", choices=("operator", "admin"), default="operator", help="岗位 / role")
    anchor = _add(verbs, "anchor", "anchor:anchor", "外部锚定：时间戳与监管链 / outside anchors: time stamps and a chain")
    anchor.add_argument("--party", required=True, help="机构 / institution")
    steps = anchor.add_mutually_exclusive_group()
    steps.add_argument("--now", action="store_true", help="立即锚定 / anchor now")
    steps.add_argument("--init", action="store_true", help="生成或查看链上账户 / make or read the account on the chain")
    steps.add_argument("--request", metavar="FILE.tsq", help="离线：写出时间戳请求 / offline: write a time stamp request")
    steps.add_argument("--response", metavar="FILE.tsr", help="离线：交回时间戳答复 / offline: hand the reply in")
    steps.add_argument("--check", metavar="NOTE", help="与监管链核对检查点文件 / compare a checkpoint file with the chain")
    anchor.add_argument("--new-account", dest="anew", action="store_true", help="与 --init：换一个账户 / with --init: another account")
    anchor.add_argument("--transaction", metavar="HASH", help="该检查点的锚定交易 / transaction of that checkpoint's anchor")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("1 or more / 至少为 1")
    return value


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError("YYYY-MM-DD") from None


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:  # NaN is neither
        raise argparse.ArgumentTypeError("0 to 1 / 须在 0 与 1 之间")
    return value


if __name__ == "__main__":
    sys.exit(main())
