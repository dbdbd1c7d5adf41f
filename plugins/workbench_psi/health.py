"""What the health page says about this plugin."""

from __future__ import annotations

from workbench.contracts import HealthReport
from workbench.errors import SelfTestFailed
from workbench_psi import curve

NAME = "psi.curve"


def curve_report() -> HealthReport:
    """Run the known answers (about 10 ms when warm) and name the back end; slow arithmetic is a warning."""
    try:
        curve.self_test()
    except SelfTestFailed as failure:
        return HealthReport(NAME, "failed", failure.zh, failure.en)
    if curve.backend_name() == "double-fma":
        return HealthReport(
            NAME, "ok", "曲线运算自检通过（批量运算）", "Curve arithmetic passes its known answers (batched)"
        )
    return HealthReport(
        NAME,
        "warning",
        "曲线运算自检通过，但处理器不支持融合乘加，比对约慢四倍；请运维换用支持 FMA 的机器",
        "Curve arithmetic passes its known answers, but this processor has no fused multiply-add: about four times "
        "slower; operators should use a machine with FMA",
    )
