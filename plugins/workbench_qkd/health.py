"""Lines of the health page about the quantum channel. Document: docs/quantum-channel.md section 7."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.contracts import HealthReport
from workbench.errors import WorkbenchError
from workbench_qkd import checks, policies, restoring
from workbench_qkd.model import HOUR_MS, POLICY_NAMES
from workbench_qkd.service import ChannelService

NAME = "qkd"


def reports(service: ChannelService) -> list[HealthReport]:
    """One line when there is no entity, or it is away; one a line otherwise, and one for its device."""
    undone = [*_undone(service), *_altered_frames(service)]
    if not service.is_configured:
        return [HealthReport(NAME, "ok", "本节点没有密钥管理实体，量子通道未启用", "no key-management entity: the quantum channel is not used")]
    try:
        overview, lines, test = service.client().overview(), service.client().lines(), service.client().last_self_test()
    except WorkbenchError as error:
        return [HealthReport(NAME, "failed", error.zh, error.en), *undone]
    made = undone
    made += _device(checks.state_of(test, enabled=overview.device_enabled, now_ms=overview.now_ms, is_production=service.host.kind == "production"))
    made += _devices(overview.devices)
    with service.host.store.read() as reader:
        held = policies.held(reader)
        for line in lines:
            made_here = policies.decided(reader, service.host, line.line)
            if made_here is not None and not made_here.is_sound:
                made.append(_altered(line.line))
            policy = policies.in_force(reader, service.host, line.line, line.policy)
            made.append(_line(line, policy, held=line.line in held))
    if service.problem is not None:
        made.append(HealthReport(f"{NAME}.evidence", "warning", service.problem.zh, service.problem.en))
    return made


def _device(state: str) -> list[HealthReport]:
    told = {
        "failed": ("failed", "密钥设备自检不过，已停用", "the key device failed its self-test and is disabled"),
        "overdue": (
            "warning", "密钥设备的定期自检逾期：运维执行自检，查密钥管理实体的进程与时钟",
            "the periodic self-test of the key device is overdue: operations test it, and check process and clock of the entity",
        ),
        "unscheduled": (
            "failed", "密钥设备没有定期自检，生产环境不允许：运维在 kme.json 设 self_test_hours，重启实体",
            "the key device has no periodic self-test, which production demands: operations set self_test_hours in kme.json and restart the entity",
        ),
    }  # fmt: skip
    return [HealthReport(f"{NAME}.device", *told[state])] if state in told else []


def _devices(states: Mapping[str, str]) -> list[HealthReport]:
    """Devices that do not serve while others do; their values are kept and refused."""
    return [
        HealthReport(
            f"{NAME}.device.{name}", "failed", f"密钥设备 {name} 未在服务（{state}），它包裹的密钥保留、暂不交付；运维查该设备后重新自检",
            f"key device {name} does not serve ({state}); what it wrapped is kept and not given out. Operations check it and test again",
        )
        for name, state in states.items()
        if state in ("out", "missing")
    ]  # fmt: skip


def _undone(service: ChannelService) -> list[HealthReport]:
    with service.host.store.read() as reader:
        number = restoring.waiting(reader)
    if not number:
        return []
    return [
        HealthReport(
            f"{NAME}.revoking", "failed", f"{number} 次密钥吊销还没有得到密钥管理实体确认，节点继续重试；运维查实体",
            f"{number} revocations of keys are not confirmed by the key-management entity yet; the node goes on asking, operations check the entity",
        )
    ]  # fmt: skip


def _altered_frames(service: ChannelService) -> list[HealthReport]:
    """Partners of whom something did not verify, or never came, within the last hour."""
    now = service.host.now_ms()
    missing = [
        HealthReport(
            f"{NAME}.missing.{peer}", "warning", f"与 {peer} 的会话一小时内有密文帧发出而未到（本次运行共 {number} 个）：网络中断，或有人截走；运维与对方运维查线路与设备",
            f"frames in sessions with {peer} were sent within the hour and never came ({number} in this run): a network that broke off, or somebody takes them away; operations of both ends check lines and devices",
        )
        for peer, (last, number) in sorted(service.missing_frames.items())
        if now - last < HOUR_MS
    ]  # fmt: skip
    return missing + [
        HealthReport(
            f"{NAME}.frames.{peer}", "warning", f"与 {peer} 的会话一小时内有密文帧被拒收（本次运行共 {number} 个）：可能有人改动或重放，运维与对方运维查线路与设备",
            f"frames in sessions with {peer} were refused within the hour ({number} in this run): somebody may alter or repeat them; operations of both ends check lines and devices",
        )
        for peer, (last, number) in sorted(service.refused_frames.items())
        if now - last < HOUR_MS
    ]  # fmt: skip


def _altered(line: str) -> HealthReport:
    return HealthReport(
        f"{NAME}.{line}.policy", "failed", f"线路 {line} 的策略与两人签署的决定不符，按最严策略执行；合规岗核对日志，重新决定策略",
        f"the policy of line {line} is not what people signed; the strictest one counts. Compliance compares the log and decides the policy anew",
        "compliance",
    )  # fmt: skip


def _line(line: object, policy: str, *, held: bool) -> HealthReport:
    name, state = str(getattr(line, "line", "")), str(getattr(line, "state", ""))
    available, low = int(getattr(line, "available", 0)), int(getattr(line, "low_water", 0))
    told = f"{NAME}.{name}"
    if held or state == "alarm":
        return HealthReport(
            told, "failed", f"线路 {name} 报警，新会话一律拒绝；运维查线路，两人恢复", f"line {name} is alarmed, sessions are refused; operations check it, two people resume"
        )
    if state in ("other-tenant", "peer-unreachable", "out-of-step", "disabled"):
        return HealthReport(told, "failed", f"线路 {name} 不能供钥（{state}）", f"line {name} gives no keys ({state})")
    if policy == "pqc-only":
        return HealthReport(
            told, "warning", f"线路 {name} 的策略是「{POLICY_NAMES[policy][0]}」：会话不用线路密钥", f"the policy of line {name} is {POLICY_NAMES[policy][1]}: sessions use no key of it",
            "compliance",
        )  # fmt: skip
    if available < low:
        return HealthReport(told, "warning", f"线路 {name} 只剩 {available} 把密钥，低于低水位 {low}", f"line {name} has {available} keys left, below its mark of {low}")
    return HealthReport(told, "ok", f"线路 {name} 有 {available} 把密钥可用", f"line {name} has {available} keys")
