"""Words and options of `workbench lease`, `models`, `meter` and `erase list|verify`; cli.py adds them. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

ALIASES = {("erase", "list"): ("lease", "erasures"), ("erase", "verify"): ("lease", "verify")}
"""`erase` alone erases a customer (the same as consent erase); with these words it is about servers."""


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The arguments with `erase list` and `erase verify` as the commands they stand for."""
    found = ALIASES.get((arguments[0], arguments[1])) if len(arguments) > 1 else None
    return [*found, *arguments[2:]] if found else list(arguments)


def add_lease_commands(commands: Any, add: Callable[..., Any], parser_class: type[argparse.ArgumentParser]) -> None:
    """add(verbs, name, handler, text): as in cli.py."""

    def group(name: str, told: str) -> Callable[..., Any]:
        verbs = commands.add_parser(name, help=told).add_subparsers(dest="verb", required=True, parser_class=parser_class, metavar="VERB")

        def verb(word: str, handler: str, text: str, *, folder: bool = True) -> Any:
            command = add(verbs, word, handler if ":" in handler else f"leases:{handler}", text, folder=folder)
            if folder:
                command.add_argument("--party", required=True, help="机构 / institution")
            return command

        return verb

    _leases(group("lease", "算力租约 / leases of computing"))
    _models(group("models", "模型镜像 / images of models"))
    _meters(group("meter", "计量与账单 / meters and accounts"))


def _leases(verb: Callable[..., Any]) -> None:
    verb("offer", "offer", "现在能租什么 / what could be leased now")
    ordered = verb("order", "order", "订租 / order a lease")
    ordered.add_argument("--image", required=True, metavar="ID", help="镜像编号 / id of the image")
    ordered.add_argument("--cards", type=int, default=1, metavar="N", help="卡数 / cards")
    ordered.add_argument("--most", type=int, default=0, metavar="N", help="扩缩的上限，默认同卡数 / most cards the scaler may set, default as --cards")
    ordered.add_argument("--hours", type=float, default=1.0, metavar="H", help="多久，至多 24 / how long, at most 24")
    ordered.add_argument("--pool", choices=("shared", "dedicated"), default="shared", help="共享或专用 / shared or dedicated servers")
    ordered.add_argument("--mode", choices=("run", "debug"), default="run", help="运行，或只用合成资料的调试 / run, or debug with synthetic documents only")
    ordered.add_argument("--assurance", choices=("process", "gvisor", "tee"), default="process", help="最低保证级别 / least level of assurance")
    ordered.add_argument("--budget-fen", type=int, default=0, metavar="FEN", help="预算（分），0 为不设 / budget in fen, 0 for none")
    ordered.add_argument("--idle-s", type=int, default=0, metavar="S", help="空闲多久即释放，0 为不 / released after so long without an ask, 0 never")
    ordered.add_argument("--erase-image", action="store_true", help="结束后镜像也擦除 / erase the image too at the end")
    ordered.add_argument("--reason", default="", metavar="TEXT", help="理由 / reason")
    listed = verb("list", "listed", "租约 / leases")
    listed.add_argument("--state", default="", choices=("", "ORDERED", "REFUSED", "RUNNING", "RELEASING", "ERASED", "UNPROVEN"), help="只看此状态 / only in this state")
    _lease(verb("show", "show", "一个租约 / one lease"))
    changed = verb("change", "change", "变更租约 / change a lease")
    _lease(changed)
    changed.add_argument("--cards", type=int, default=0, metavar="N", help="卡数 / cards")
    changed.add_argument("--extend-minutes", type=int, default=0, metavar="M", help="延长多少分钟 / extend by so many minutes")
    changed.add_argument("--reason", default="", metavar="TEXT", help="理由 / reason")
    released = verb("release", "release", "释放租约 / release a lease")
    _lease(released)
    released.add_argument("--reason", default="", metavar="TEXT", help="理由 / reason")
    released.add_argument("--wait", action="store_true", help="等到擦除收据齐全 / wait for every erase receipt")
    _lease(verb("probe", "probe", "让沙箱当场自检 / let its sandboxes run their probe suite now"))
    verb("servers", "servers", "服务器 / servers")
    verb("scaling", "scaling", "扩缩决定与理由 / decisions of the scaler and why")
    planned = verb("schedule", "schedule", "排期：高峰与夜间释放 / calendar: peaks and the release at night")
    planned.add_argument("--peak", action="append", default=[], metavar="HH:MM-HH:MM", help="高峰，可多次 / peak, repeatable")
    planned.add_argument("--opens-at", default="09:00", metavar="HH:MM", help="开始 / opens")
    planned.add_argument("--release-at", default="22:00", metavar="HH:MM", help="释放 / released")
    planned.add_argument("--image", default="", metavar="ID", help="每个工作日订哪个镜像 / image ordered each working day")
    planned.add_argument("--most", type=int, default=10, metavar="N", help="卡数上限 / most cards")
    planned.add_argument("--off", action="store_true", help="停用 / switch it off")
    planned.add_argument("--reason", default="", metavar="TEXT", help="理由 / reason")
    erased = verb("erasures", "erasures", "擦除收据，即 erase list / erase receipts, the same as erase list")
    erased.add_argument("--lease", default="", metavar="L-…", help="只看此租约 / of this lease only")
    erased.add_argument("--out", metavar="FOLDER", help="收据原文写到文件夹 / write the receipts as signed into a folder")
    verified = verb("verify", "verify", "离线核验擦除收据，即 erase verify，不需要节点 / verify an erase receipt offline, the same as erase verify; needs no node", folder=False)
    verified.add_argument("file", metavar="FILE", help="收据，或租约凭证 / receipt, or lease file")
    verified.add_argument("--provider", default="", metavar="PARTY", help="算力方，默认按收据 / provider, default as the receipt says")
    verified.add_argument("--key", metavar="HEX", help="算力方的合同公钥，04 开头 / the provider's contract key, beginning with 04")
    verified.add_argument("--trust", metavar="FILE", help="或：信任文件，或 erase list --out 写的 contract-key.txt / or a trust file, or contract-key.txt as erase list --out wrote it")
    exported = verb("export", "proofs:export", "租约凭证：他人签署的一切，一份文件 / the lease file: all of it that others signed")
    _lease(exported)
    exported.add_argument("--out", required=True, metavar="FILE", help="写到 / written to")
    told = verb("history", "proofs:history", "提问记录与收据，标识只留标签 / the history of asks and its receipt, identifiers as labels")
    told.add_argument("--out", required=True, metavar="FILE", help="写到 / written to")
    proved = verb("prove", "proofs:prove", "离线核验租约凭证，不需要节点 / check a lease file offline; needs no node", folder=False)
    _signed_file(proved)
    proved.add_argument("--package", metavar="ZIP", help="该租约的证据包，由 export --job 导出，须开示字段 / evidence package of the lease, from export --job with --open")
    proved.add_argument("--history", metavar="FILE", help="导出的提问记录 / the exported history of asks")


def _models(verb: Callable[..., Any]) -> None:
    verb("list", "models", "镜像与可签署的引擎 / images, and engines of which one can be signed")
    shown = verb("show", "model", "一个镜像 / one image")
    shown.add_argument("image", metavar="ID", help="镜像编号，可只写开头 / id of the image, its beginning is enough")
    signed = verb("sign", "sign", "签署镜像清单 / sign an image's manifest")
    signed.add_argument("--engine", required=True, metavar="NAME", help="引擎 / engine")
    signed.add_argument("--name", default="", metavar="NAME", help="镜像名，默认同引擎 / name, default the engine's")
    signed.add_argument("--version", default="1.0", metavar="TEXT", help="版本 / version")
    signed.add_argument("--runtime", default="", metavar="HEX", help="算力方的运行环境清单，默认同本安装 / the provider's runtime listing, default as this installation has it")
    signed.add_argument("--program", default="", metavar="NAME", help="在沙箱内启动的推理服务，见设置 inference.programs / server that is started inside, of setting inference.programs")
    signed.add_argument("--licence", default="", metavar="TEXT", help="权重的许可 / licence of the weights")


def _meters(verb: Callable[..., Any]) -> None:
    held = verb("verify", "proofs:meters", "离线核验双方签署的计量与对账单 / check ticks and statement, signed by both, offline", folder=False)
    _signed_file(held)
    both = verb("reconcile", "proofs:reconcile", "离线比对双方的租约凭证 / compare the lease files of both ends offline", folder=False)
    _signed_file(both)
    both.add_argument("other", metavar="OTHER", help="另一方的租约凭证 / lease file of the other end")
    ticks = verb("show", "meters", "一个租约的计量汇总 / the sums of one lease")
    _lease(ticks)
    many = verb("ticks", "ticks", "逐条计量 / meters one by one")
    _lease(many)
    many.add_argument("--limit", type=int, default=100, metavar="N", help="条数 / how many")
    for word, handler, text in (("statement", "statement", "对账单 / statements of account"), ("invoice", "invoice", "账单 / invoice")):
        command = verb(word, handler, text)
        command.add_argument("--month", default="", metavar="YYYY-MM", help="月份，默认本月 / month, default this one")
    settled = verb("settle", "settle", "商定差异，须两人 / settle a difference; two people")
    _lease(settled)
    settled.add_argument("--card-seconds", type=int, required=True, metavar="N", help="按多少卡·秒结算 / card-seconds that are paid")
    settled.add_argument("--reason", required=True, metavar="TEXT", help="理由 / reason")
    settled.add_argument("--as", dest="role", choices=("operator", "compliance", "provider-operator"), default="operator", help="以哪个岗位 / as which role")
    cost = verb("costs", "costs", "成本，与常开相比 / costs beside running without a break")
    cost.add_argument("--days", type=int, default=7, metavar="N", help="最近几天 / the last days")


def _signed_file(command: Any) -> None:
    command.add_argument("file", metavar="FILE", help="租约凭证，由 lease export 导出 / lease file, from lease export")
    command.add_argument("--trust", required=True, metavar="KEYS.json", help="信任文件，由 trust export 导出并与对方核对 / trust file, from trust export and compared with the others")


def _lease(command: Any) -> None:
    command.add_argument("lease", metavar="L-…", help="租约 / lease")


__all__ = ["add_lease_commands", "spelled_out"]
