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
    rehearsal = add(verbs, "simulate", "qkd:simulate", "在本进程里预演一个块（没有密钥时退出码 3） / rehearse one block in this process (exit status 3 without key)", folder=False)
    rehearsal.add_argument("--preset", choices=PRESETS, default="metro-10", help="线路 / line")
    rehearsal.add_argument("--pulses", type=int, metavar="N", help="脉冲数 / pulses")
    rehearsal.add_argument("--seed", default="1", metavar="TEXT", help="种子：同样的种子得到同样的块 / seed: the same one gives the same block")
    rehearsal.add_argument("--block", type=int, default=0, metavar="N", help="块号 / number of the block")
    rehearsal.add_argument("--eavesdropper", type=float, default=0.0, metavar="X", help="窃听的比例 0 到 1 / share that is attacked, 0 to 1")
    rehearsal.add_argument("--attack", choices=ATTACKS, default=ATTACKS[0], help="手法 / attack")
    test = add(verbs, "selftest", "qkd:selftest", "已知答案自检 / known answers of every algorithm", folder=False)
    test.add_argument("dir", metavar="DIR", nargs="?", default="", help="由此工作区的密钥设备自检，缺省为本进程 / by the key device of this workspace, default this process")
    test.add_argument("--party", help="机构 / institution")


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
    shown = verb("blocks", "blocks", "最近的块 / newest blocks")
    shown.add_argument("--limit", type=int, default=20, metavar="N", help="条数 / how many")
    verb("session", "session", "与对端演练一次会话 / rehearse a session with the far end")
    revoke = verb("revoke", "revoke", "吊销密钥 / revoke keys", reason=True)
    what = revoke.add_mutually_exclusive_group(required=True)
    what.add_argument("--key", action="append", default=[], metavar="UUID", help="密钥编号，可多次 / id of a key, repeatable")
    what.add_argument("--block", type=int, metavar="N", help="整块 / a whole block")
    verb("rekey", "rekey", "整条线路换钥 / replace every key of a line", reason=True)
    leak = verb("leak-report", "leak_report", "查一把密钥保护过什么 / what a key protected", line=False)
    leak.add_argument("--key", required=True, metavar="UUID", help="密钥编号 / id of the key")
    policy = verb("policy", "policy", "收紧策略，或提议降低 / tighten the policy, or propose a weaker one", reason=True)
    policy.add_argument("policy", choices=POLICIES, help="策略 / policy")
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


__all__ = ["add_qkd_commands"]
