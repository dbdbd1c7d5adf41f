"""Words and options of `workbench qkd`; cli.py adds them. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

PRESETS = ("gys-2004", "metro-10", "metro-50", "fibre-100")
ATTACKS = ("intercept-resend", "photon-number-splitting", "detector-blinding")
POLICIES = ("qkd-required", "hybrid-required", "pqc-only")


def add_qkd_commands(commands: Any, add: Callable[..., Any], parser_class: type[argparse.ArgumentParser]) -> None:
    """add(verbs, name, handler, text, folder=): as in cli.py."""
    verbs = commands.add_parser("qkd", help="量子通道 / quantum channel").add_subparsers(dest="verb", required=True, parser_class=parser_class, metavar="VERB")
    _without_node(verbs, add)
    _at_a_node(verbs, add)


def _without_node(verbs: Any, add: Callable[..., Any]) -> None:
    rehearsal = add(verbs, "simulate", "qkd:simulate", "在本进程里预演一个块（规则不许成码时退出码 2） / rehearse one block in this process (exit status 2 where the rules leave no key)", folder=False)
    rehearsal.add_argument("--preset", choices=PRESETS, default="metro-10", help="线路 / line")
    rehearsal.add_argument("--pulses", type=int, metavar="N", help="脉冲数 / pulses")
    rehearsal.add_argument("--seed", default="1", metavar="TEXT", help="种子：同样的种子得到同样的块 / seed: the same one gives the same block")
    rehearsal.add_argument("--block", type=int, default=0, metavar="N", help="块号 / number of the block")
    rehearsal.add_argument("--eavesdropper", type=float, default=0.0, metavar="X", help="窃听的比例 0 到 1 / share that is attacked, 0 to 1")
    rehearsal.add_argument("--attack", choices=ATTACKS, default=ATTACKS[0], help="手法 / attack")
    test = add(verbs, "selftest", "qkd:selftest", "已知答案自检 / known answers of every algorithm", folder=False)
    test.add_argument("dir", metavar="DIR", nargs="?", default="", help="由此工作区的密钥设备自检，缺省为本进程 / by the key device of this workspace, default this process")
    test.add_argument("--party", help="机构 / institution")
    test.add_argument("--report", metavar="FILE", help="自检后把检查报告写入文件（JSON，须给出 DIR） / write the check report to a file afterwards (JSON, with DIR)")
    test.set_defaults(usage_error=test.error)


def _at_a_node(verbs: Any, add: Callable[..., Any]) -> None:
    def verb(word: str, handler: str, text: str, *, line: bool = True, reason: bool = False) -> Any:
        command = add(verbs, word, f"qkd:{handler}", text)
        command.add_argument("--party", required=True, help="机构 / institution")
        if line:
            command.add_argument("--line", required=True, metavar="LINE", help="线路 / line")
        if reason:
            command.add_argument("--reason", required=True, metavar="TEXT", help="理由，至少 5 个字 / reason, 5 characters or more")
        return command

    verb("status", "status", "线路、密钥池与待决提议（停用时退出码 2） / lines, pools, open proposals (exit status 2 while stopped)", line=False)
    verb("capacity", "capacity", "全站密钥容量预测（有机构无线路可供钥时退出码 2） / key capacity of the site (exit status 2 while no line to a partner gives keys)", line=False).set_defaults(handler="qkd_capacity:capacity")
    served = verb("quality", "quality", "线路服务质量（未达目标时退出码 2） / quality of service of a line (exit status 2 where an objective is missed)")
    served.set_defaults(handler="qkd_quality:quality", usage_error=served.error)
    served.add_argument("--from", dest="from_time", default="", metavar="TIME", help="起，YYYY-MM-DD 或 YYYY-MM-DDTHH:MM（北京时间），缺省为结束前一天 / begin, Beijing time; default a day before the end")
    served.add_argument("--until", dest="until_time", default="", metavar="TIME", help="止，只写日期为该日结束，缺省为现在 / end; a day alone ends with it; default now")
    shown = verb("blocks", "blocks", "最近的块 / newest blocks")
    shown.add_argument("--limit", type=int, default=20, metavar="N", help="条数 / how many")
    verb("session", "session", "与对端演练一次会话 / rehearse a session with the far end")
    revoke = verb("revoke", "revoke", "吊销密钥，或吊销人员、介质（实体没有回应时退出码 1） / revoke keys, or a person or a medium (exit status 1 while the entity is away)", line=False, reason=True)
    revoke.add_argument("--line", metavar="LINE", help="线路，吊销密钥时须写 / line, for keys and blocks")
    revoke.add_argument("--key", action="append", default=[], metavar="UUID", help="密钥编号，可多次 / id of a key, repeatable")
    revoke.add_argument("--block", type=int, metavar="N", help="整块 / a whole block")
    revoke.add_argument("--person", metavar="ACCOUNT", help="此人的全部介质、会话与登录 / a person's media, sessions and sign-ins")
    revoke.add_argument("--device", metavar="NAME", help="一件介质；与 --person 同用时只此人的 / one medium; with --person only that person's")
    revoke.add_argument("--disable", action="store_true", help="同时停用账号，须管理员 / disable the account too, as an administrator")
    revoke.add_argument("--role", choices=("operator", "admin"), default="operator", help="以哪个岗位 / as which role")
    revoke.set_defaults(usage_error=revoke.error)
    _charge(verbs, add)
    _application(verbs, add)
    _devices(verbs, add)
    verb("rekey", "rekey", "整条线路换钥 / replace every key of a line", reason=True)
    leak = verb("leak-report", "leak_report", "查一把密钥保护过什么 / what a key protected", line=False)
    leak.add_argument("--key", required=True, metavar="UUID", help="密钥编号 / id of the key")
    policy = verb("policy", "policy", "收紧策略，或提议降低 / tighten the policy, or propose a weaker one", reason=True)
    policy.add_argument("policy", choices=POLICIES, help="策略 / policy")
    secret = verb("initial-secret", "put", "换入线路认证密钥池的新初始秘密（本端实体会停止） / put in a new initial secret of a line (stops this end's entity)", reason=True)
    secret.set_defaults(handler="qkd_secret:put", usage_error=secret.error)
    which = secret.add_mutually_exclusive_group(required=True)
    which.add_argument("--make", metavar="FILE", help="生成一份，写成交给对端的文件（0600） / make one, and the file for the other end (0600)")
    which.add_argument("--file", metavar="FILE", help="对端生成的文件（0600） / the file that the other end made (0600)")
    secret.add_argument("--check", metavar="HEX", help="对端另行告知的校验值，与 --file 同用 / check value that the other end told, with --file")
    resume = verb("resume", "resume", "报警后申请恢复 / ask to resume after an alarm", reason=True)
    confirm = verb("confirm", "confirm", "第二人确认降级或恢复 / confirm as the second person", line=False)
    decline = verb("decline", "decline", "拒绝或收回提议 / decline a proposal or take it back", line=False, reason=True)
    for command in (confirm, decline):
        command.add_argument("proposal", metavar="Q-…", help="提议编号 / number of the proposal")
    for command in (policy, resume, confirm, decline):
        command.add_argument("--role", choices=("operator", "compliance"), default="operator", help="以哪个岗位 / as which role")
    listen = verb("eavesdrop", "eavesdrop", "窃听演示（演示线路） / eavesdropper of a demonstration line")
    listen.add_argument("share", type=float, metavar="X", help="比例 0 到 1，0 为关闭 / share 0 to 1, 0 switches it off")
    listen.add_argument("--attack", choices=ATTACKS, default=ATTACKS[0], help="手法 / attack")


def _application(verbs: Any, add: Callable[..., Any]) -> None:
    """application list, add, set, withdraw, issue."""
    application = verbs.add_parser("application", help="本站应用与配额 / applications of the site and their quotas")
    inner = application.add_subparsers(dest="application_verb", required=True, parser_class=type(application), metavar="VERB")
    shown = add(inner, "list", "qkd_application:listed", "应用、配额与余量（登记表不可信时退出码 2） / applications, quotas, what is left (exit status 2 while the list is in doubt)")
    taken = add(inner, "add", "qkd_application:add", "登记应用 / register an application")
    changed = add(inner, "set", "qkd_application:change", "修改应用，未写的项不变 / change an application; what is not named stays")
    gone = add(inner, "withdraw", "qkd_application:withdraw", "撤销应用 / withdraw an application")
    issued = add(inner, "issue", "qkd_application:issue", "由本站签发机构给应用签发证书，不登记 / a certificate for an application by the site's authority; registers nothing")
    for command in (shown, taken, changed, gone, issued):
        command.add_argument("--party", required=True, help="机构 / institution")
    for command in (taken, changed, gone, issued):
        command.add_argument("--application", required=True, metavar="SAE", help="应用编号 / id of the application")
    for command in (taken, changed, gone):
        command.add_argument("--reason", required=True, metavar="TEXT", help="理由，至少 5 个字 / reason, 5 characters or more")
    taken.add_argument("--certificate", required=True, metavar="FILE", help="证书 PEM / certificate, PEM")
    changed.add_argument("--certificate", metavar="FILE", help="新证书 PEM / new certificate, PEM")
    for command, default in ((taken, {"per_hour": 3600, "burst": 60, "most_reserved": 0, "priority": 0, "line": "", "tenant": ""}), (changed, {})):
        of = default.get
        command.add_argument("--per-hour", type=int, default=of("per_hour"), metavar="N", help="每小时密钥数 / keys an hour")
        command.add_argument("--burst", type=int, default=of("burst"), metavar="N", help="一次至多 / at once")
        command.add_argument("--reserved", dest="most_reserved", type=int, default=of("most_reserved"), metavar="N", help="至多预留未取，0 不限 / kept reserved at most, 0 for any number")
        command.add_argument("--priority", type=int, choices=range(4), default=of("priority"), help="优先级，3 最急 / priority, 3 is most urgent")
        command.add_argument("--line", default=of("line"), metavar="LINE", help="只从此线路取钥 / the only line it gets keys of")
        command.add_argument("--tenant", default=of("tenant"), metavar="TAG", help="租户标记：只从同一标记的线路取钥 / tag of its tenant: it gets keys of lines with this tag only")
    changed.set_defaults(usage_error=changed.error)
    issued.add_argument("--out", required=True, metavar="FILE", help="写入证书，私钥写在旁边的 .key / file for the certificate, its key beside it as .key")


def _devices(verbs: Any, add: Callable[..., Any]) -> None:
    """device list, add, drain."""
    device = verbs.add_parser("device", help="密钥设备 / key devices")
    inner = device.add_subparsers(dest="device_verb", required=True, parser_class=type(device), metavar="VERB")
    shown = add(inner, "list", "qkd_devices:shown", "密钥设备及状态（有设备未在服务时退出码 2） / key devices and their state (exit status 2 while one does not serve)")
    made = add(inner, "add", "qkd_devices:add", "在线加入一台，不停实体与会话 / add one while entity and sessions go on")
    gone = add(inner, "drain", "qkd_devices:drain", "密钥转到其他设备后撤出 / take one away after its values have moved")
    for command in (shown, made, gone):
        command.add_argument("--party", required=True, help="机构 / institution")
    for command in (made, gone):
        command.add_argument("--name", required=True, metavar="NAME", help="设备名 / name of the device")
        command.add_argument("--reason", required=True, metavar="TEXT", help="理由，至少 5 个字 / reason, 5 characters or more")
    made.add_argument("--backend", choices=("soft", "pkcs11"), default="soft", help="soft 为独立进程；pkcs11 为同名令牌 / soft: a process of its own; pkcs11: the token of this name")


def _charge(verbs: Any, add: Callable[..., Any]) -> None:
    """charge fill, status, deliver, open."""
    charge = verbs.add_parser("charge", help="充注密钥 / charge keys")
    inner = charge.add_subparsers(dest="charge_verb", required=True, parser_class=type(charge), metavar="VERB")
    shown = add(inner, "status", "qkd_charge:status", "充注密钥池（有密钥池低于低水位时退出码 2） / pools of charge keys (exit status 2 while one is low)")
    fill = add(inner, "fill", "qkd_charge:fill", "充注一件介质 / fill a medium")
    deliver = add(inner, "deliver", "qkd_charge:deliver", "向介质投递会话密钥 / deliver a session key to a medium")
    for command in (shown, fill, deliver):
        command.add_argument("--party", required=True, help="机构 / institution")
    for command in (fill, deliver):
        command.add_argument("--line", required=True, metavar="LINE", help="线路 / line")
        command.add_argument("--person", required=True, metavar="ACCOUNT", help="账号 / account")
        command.add_argument("--device", required=True, metavar="NAME", help="介质 / medium")
        command.add_argument("--out", required=True, metavar="FILE", help="写入文件 / file to write")
    fill.add_argument("--count", type=int, default=256, metavar="N", help="充注密钥数，1 至 4096 / charge keys, 1 to 4096")
    fill.add_argument("--low-water", type=int, default=16, metavar="N", help="低水位 / low-water mark")
    deliver.add_argument("--slave", default="", metavar="SAE", help="对端取同一把密钥的应用 / application of the far site that gets the same key")
    opened = add(inner, "open", "qkd_charge:open_delivery", "用介质文件打开一次投递（不需节点） / open a delivery with a medium's file (no node needed)", folder=False)
    opened.add_argument("--medium", required=True, metavar="FILE", help="介质文件，用过的密钥从中消失 / the medium's file; what was used leaves it")
    opened.add_argument("--delivery", required=True, metavar="FILE", help="投递的文件 / file of the delivery")
    opened.add_argument("--out", required=True, metavar="FILE", help="写入会话密钥 / file for the session key")


__all__ = ["add_qkd_commands"]
