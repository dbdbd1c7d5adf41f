"""qkd: a line rehearsed in this process, the key device tested, and the quantum channel of a node that runs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from workbench.client.session import Record
from workbench.commands.common import (
    Options,
    client_for,
    credentials,
    print_result,
    require_place,
    workspace_of,
    write_private,
)
from workbench.commands.qkd_quality import shown_time
from workbench.domain.party import Role
from workbench.errors import Refused

PLUGIN = "workbench_qkd"
DEVICE = "workbench_kme.devices.selftest"


def simulate(options: Options) -> int:
    """Both ends of one block in this process, no node needed; exit 2 where the rules leave no key, 1 where the ends differ."""
    module = _installed(f"{PLUGIN}.simulating")
    wanted = module.Rehearsal(
        preset=options.preset, pulses=options.pulses or 0, seed=options.seed, block=options.block, kind=options.attack, fraction=options.eavesdropper
    )
    found: dict[str, Any] = module.rehearse(wanted)
    print_result(options, found, _rehearsal_lines(found))
    if found["aborted"] or not found["keys"]:
        return 2
    return 0 if found["ends_agree"] else 1


def selftest(options: Options) -> int:
    """Known answers of every algorithm: in this process, or with DIR by the key device of that institution."""
    if options.report and not options.dir:
        options.usage_error("--report goes with DIR: the report is of a node's device, and its digest stands in the log")
    if options.dir:
        if not options.party:
            raise Refused("请用 --party 写明机构", "Name the institution with --party", code="NO_PARTY")
        if options.report:
            require_place(Path(options.report))
        with client_for(workspace_of(options), options.party, Role.OPERATOR) as client:
            found: Mapping[str, Any] = client.call("qkd.selftest")
            if options.report:
                made = client.call("qkd.check_report")
                write_private(Path(options.report), client.download(made["download"]))
                found = {**found, "report": options.report, "digest": made["digest"]}
    else:
        report = _installed(DEVICE).run()
        answers = [{"name": one.name, "passed": one.passed, "algorithm": one.algorithm, "source": one.source} for one in report.results]
        found = {"time_ms": 0, "passed": report.passed, "vectors": _installed(DEVICE).vectors_version(), "tests": answers}
    lines = [f"{'✓' if one['passed'] else '✗'} {one['name']}" for one in found["tests"]]
    lines.append(f"答案版本 known answers {found['vectors']}")
    if "report" in found:
        lines.append(f"报告 report {found['report']}  SM3 {found['digest']}")
    lines.append("自检全部通过 / every test passed" if found["passed"] else "自检不过：设备停用 / a test failed: the device is disabled")
    print_result(options, found, lines)
    return 0 if found["passed"] else 1


def status(options: Options) -> int:
    """Lines, pools and open proposals; exit 2 while a line refuses sessions, 1 when the entity does not answer."""
    reply = _ask(options, "qkd.status")
    lines = [f"{reply['kme'] or '没有密钥管理实体 / no key-management entity'}"]
    if reply["problem_code"]:
        lines += [f"✗ {reply['problem_zh']} [{reply['problem_code']}]", f"  {reply['problem_en']}"]
    lines += _check_lines(reply)
    out = [f"{name} {state}" for name, state in reply["devices"].items() if state != "serving"]
    if len(reply["devices"]) > 1 or out:
        lines.append(f"  密钥设备 key devices {len(reply['devices'])}" + (f"  ✗ {', '.join(out)}" if out else ""))
    for one in reply["lines"]:
        lines += _line_lines(one)
        if one["link_group"]:
            lines.append(f"  链路 / link {one['link_version']} {one['link_group']} {one['link_suite']} {one['link_fingerprint'][:16]}…")
    lines += [
        f"带宽 bandwidth → {one['partner']}  {one['bytes_per_s']:,} B/s  一次 burst {one['burst']:,} B  等候 waited {one['waited_ms'] / 1000:,.1f} s（{one['waits']}）"
        for one in reply["bandwidth"]
        if one["bytes_per_s"]
    ]
    lines += [
        f"! {one['proposal']} {one['act']} {one['line']} {one['before']} → {one['target'] or '—'}（{one['asked_by']}：{one['reason']}）等第二人 / waits"
        for one in reply["proposals"]
        if one["state"] == "OPEN"
    ]
    print_result(options, reply, lines)
    if reply["problem_code"]:
        return 1
    return 2 if any(one["held_ms"] or one["state"] == "alarm" for one in reply["lines"]) else 0


def blocks(options: Options) -> int:
    """The newest blocks of a line."""
    reply = _ask(options, "qkd.blocks", line=options.line, limit=options.limit)
    lines = [
        f"{one['block']:>8}  {one['state']:<12} QBER {one['qber']:.4f}  f {one['efficiency']:.3f}  {one['keys']:>6} 把 keys  {one['alarm'] or one['aborted']}"
        for one in reply["blocks"]
    ]
    print_result(options, reply, lines or ["还没有块 / no block yet"])
    return 0


def revoke(options: Options) -> int:
    """Revoke keys by id, a whole block, or everything a person or a medium has; exit 1 while the entity has not done it."""
    of_keys, of_people = bool(options.key) or options.block is not None, bool(options.person or options.device)
    if of_keys == of_people or (options.key and options.block is not None):
        options.usage_error("--key, --block, or --person and --device: one of the three")
    if of_people:
        return _revoke_holder(options)
    if not options.line:
        options.usage_error("--line goes with --key and --block")
    block = -1 if options.key else options.block
    return _changed(options, "qkd.revoke", line=options.line, key_ids=options.key, block=block, reason=options.reason)


def _revoke_holder(options: Options) -> int:
    reply = _ask(
        options, "qkd.charge_revoke", confirmed=True, person=options.person or "", device=options.device or "", disable=options.disable, reason=options.reason
    )
    account = {"open": "，账号仍开放，停用由管理员办理 / the account is open, an administrator disables it", "disabled": "，账号已停用 / account disabled", "": ""}
    lines = [
        f"销毁充注密钥 {reply['keys']}，关闭密钥池 {reply['pools']}，结束会话 {reply['sessions']}、票据 {reply['tickets']}，换钥会话 {reply['renewing']}{account[reply['account']]}",
        f"charge keys destroyed {reply['keys']}, pools closed {reply['pools']}, sessions ended {reply['sessions']}, tickets {reply['tickets']}, sessions to renew {reply['renewing']}; {reply['took_ms']} ms",
    ]
    if not reply["is_done"]:
        lines += [f"✗ 密钥镜像尚未销毁，节点继续重试：{reply['problem_zh']} [{reply['problem_code']}]", f"  the mirrors are there yet, the node goes on: {reply['problem_en']}"]
    print_result(options, reply, lines)
    return 0 if reply["is_done"] else 1


def rekey(options: Options) -> int:
    """Revoke every key of a line that was not delivered; new blocks follow."""
    return _changed(options, "qkd.rekey", line=options.line, reason=options.reason)


def leak_report(options: Options) -> int:
    """What a key protected."""
    reply = _ask(options, "qkd.leak_report", key_id=options.key)
    lines = [f"{reply['key_id']}  {reply['state']}  {reply['provenance']}  块 block {reply['block']}  同块 siblings {reply['siblings']}"]
    lines += [f"  {one['time_ms']}  {one['purpose']}  {one['reference']}" for one in reply["uses"]]
    print_result(options, reply, lines if reply["uses"] else [*lines, "  没有记录到用途 / no use is written down"])
    return 0


def session(options: Options) -> int:
    """One session with the far end, first message to last frame; both ends' keys are used up."""
    reply = _ask(options, "qkd.rehearse_session", line=options.line)
    key = f"{reply['key_id']}（{reply['provenance']}）" if reply["key_id"] else "没有用线路密钥 / no key of the line"
    print_result(options, reply, [f"✓ {reply['session']}  {reply['policy']}  {reply['suite']}  {key}"])
    return 0


def policy(options: Options) -> int:
    """Tighten the policy of a line at once, or propose a weaker one for a second person."""
    reply = _ask(options, "qkd.propose_policy", confirmed=True, line=options.line, policy=options.policy, reason=options.reason)
    asked = reply["proposal"]
    told = f"提议 {asked['proposal']} 等第二人确认 / waits for a second person" if asked else f"策略现为 {reply['policy']} / in force"
    print_result(options, reply, [told])
    return 0


def resume(options: Options) -> int:
    """Ask that a line is used again after an alarm; another person confirms."""
    reply = _ask(options, "qkd.propose_resume", line=options.line, reason=options.reason)
    print_result(options, reply, [f"提议 {reply['proposal']} 等第二人确认 / waits for a second person"])
    return 0


def confirm(options: Options) -> int:
    """Confirm a weaker policy or a resumption as the second person."""
    reply = _ask(options, "qkd.confirm", confirmed=True, proposal=options.proposal)
    print_result(options, reply, [f"{reply['proposal']} 已确认 / confirmed"])
    return 0


def decline(options: Options) -> int:
    """Decline a proposal, or take it back."""
    reply = _ask(options, "qkd.decline", proposal=options.proposal, reason=options.reason)
    print_result(options, reply, [f"{reply['proposal']} 已拒绝 / declined"])
    return 0


def eavesdrop(options: Options) -> int:
    """Set the eavesdropper of a demonstration line; share 0 switches it off."""
    reply = _ask(options, "qkd.eavesdrop", line=options.line, kind=options.attack, fraction=options.share)
    print_result(options, reply, _line_lines(reply))
    return 0


def _installed(name: str) -> Any:  # Any: a module of a plugin, which this program does not know
    try:
        return import_module(name)
    except ImportError as error:
        raise Refused("没有安装量子通道插件", "The plugin of the quantum channel is not installed", code="NOT_INSTALLED") from error


def _ask(options: Options, operation: str, *, confirmed: bool = False, **request: Any) -> Record:
    workspace, role = workspace_of(options), Role(getattr(options, "role", None) or Role.OPERATOR)
    with client_for(workspace, options.party, role) as client:
        if not confirmed:
            reply: Record = client.call(operation, **request)
            return reply
        _, password = credentials(workspace, options.party, role)
        done: Record = client.confirmed(operation, password=password, **request)
        return done


def _changed(options: Options, operation: str, **request: Any) -> int:
    reply = _ask(options, operation, confirmed=True, **request)
    lines = [f"{reply['keys']:,} 把密钥已吊销，{reply['sessions']} 个会话结束 / keys revoked, sessions ended"]
    if not reply["is_done"]:
        lines += [f"✗ 密钥管理实体尚未吊销，节点继续重试：{reply['problem_zh']} [{reply['problem_code']}]", f"  the entity has not revoked them yet, the node goes on: {reply['problem_en']}"]
    print_result(options, reply, lines)
    return 0 if reply["is_done"] else 1


def _line_lines(one: Mapping[str, Any]) -> list[str]:
    held = f"，{one['held_cause']} 停用中 / stopped" if one["held_ms"] else ""
    qber = f"{one['qber']:.4f}" if one["qber"] >= 0 else "—"
    return [
        f"{one['line']} ↔ {one['peer_site']}  {one['state']}{held}  {one['policy']}  {one['provenance']}  租户 tenant {one['tenant'] or '—'}",
        f"  可用 available {one['available']:,} / {one['max_keys']:,}  QBER {qber}  {max(0.0, one['rate_bps']) / 1000:,.1f} kbit/s",
    ]


def _check_lines(reply: Mapping[str, Any]) -> list[str]:
    words = {
        "passed": "✓ 自检通过 / self-test passed", "failed": "✗ 自检不过，设备停用 / self-test failed, device disabled",
        "overdue": "! 定期自检逾期 / periodic self-test overdue", "unscheduled": "✗ 没有定期自检，生产不允许 / no periodic self-test, which production demands",
    }  # fmt: skip
    if not reply["self_test_state"]:
        return []
    due = f"，下次 next {shown_time(reply['self_test_next_ms'])}" if reply["self_test_next_ms"] else ""
    return [f"{words[reply['self_test_state']]}  {shown_time(reply['self_tested_ms'])}（{reply['self_test_cause']}）{due}"]


def _rehearsal_lines(found: Mapping[str, Any]) -> list[str]:
    attack = found["attack"]
    lines = [
        f"{found['preset']}  {found['length_km']:g} km  {found['pulses']:,} 脉冲 pulses  来源 origin: {found['provenance']}（不是量子密钥 / not quantum）",
        f"误码率 QBER {found['qber']:.4f}（模型 model {found['expected_qber']:.4f}）  筛后 sifted {found['sifted_bits']:,}  测试 tested {found['test_bits']:,}",
    ]
    if attack["kind"]:
        yes = {True: "看得到 seen", False: "看不到 NOT seen"}
        lines.append(
            f"窃听 attack {attack['kind']} {attack['fraction']:.0%}  误码率 QBER {yes[attack['seen_by_qber']]}  诱骗态 decoys {yes[attack['seen_by_decoys']]}"
            f"  知道 knows {attack['known_share']:.1%}"
        )
    if found["aborted"]:
        return [*lines, f"没有密钥 no key: {found['aborted']}"]
    agree = "一致 agree" if found["ends_agree"] else "不一致 DIFFER"
    return [
        *lines,
        f"有限长密钥 finite key {found['secret_bits']:,} bit = {found['keys']:,} 把 keys  纠错 f {found['efficiency']:.3f}  两端 ends {agree}",
        f"每脉冲 per pulse {found['rate']:.3e}  渐近 asymptotic {found['asymptotic_rate']:.3e}  上界 PLOB {found['plob_bound']:.3e}  {found['rate_bps'] / 1000:,.1f} kbit/s",
    ]


__all__ = ["blocks", "confirm", "decline", "eavesdrop", "leak_report", "policy", "rekey", "resume", "revoke", "selftest", "session", "simulate", "status"]
