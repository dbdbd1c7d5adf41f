"""The scaler against the exact optimum of the same days: docs/sandbox-design.md section 6, `scaling`.

The days are another author's (tests/vectors/load-traces.json); the rule was written without them. Both have the same start-up delay,
bounds and limit of lateness; who knows the day is allowed as many late asks as the aim (`bound`), or none (`optimum`).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from workbench_inference.leasing.optimum import bound, optimum
from workbench_inference.leasing.scaling import ScalingRule, simulate

VECTORS = Path(__file__).parents[1] / "vectors" / "load-traces.json"
AIM_RATIO, AIM_LATE_PERMILLE = 1.08, 10


def measure() -> dict[str, Any]:
    """For each day: cost over the optimum without a late ask, over a bound with as many as the aim allows, late asks, changes. Takes about 20 s."""
    told = json.loads(VECTORS.read_text("utf-8"))
    slot_s, per_server = int(told["slot_s"]), int(told["per_server"])
    rule = ScalingRule()
    limits = {"per_server": per_server, "least": rule.least, "most": rule.most, "start_delay": -(-rule.start_delay_s // slot_s), "lateness": rule.wait_s // slot_s}
    days: dict[str, Any] = {}
    began = time.process_time()
    for name, demand in told["traces"].items():
        run = simulate(demand, rule, per_server=per_server, slot_s=slot_s)
        try:
            best: int | None = optimum(demand, **limits).cost
        except ValueError:
            best = None  # more than the most cards answer in time: even who knows the day is late now and then
        least = bound(demand, **limits, late_permille=AIM_LATE_PERMILLE)
        days[name] = {
            "cost": run.cost, "optimum": best, "bound": round(least, 1), "ratio": round(run.cost / best, 4) if best else None, "ratio_to_bound": round(run.cost / least, 4),
            "late_permille": run.late_permille, "asks": run.asks, "changes": run.changes, "static_most": round(rule.most * len(demand) / least, 2),
        }  # fmt: skip
    return {
        "rule": {"cooldown_s": rule.cooldown_s, "start_delay_s": rule.start_delay_s, "wait_s": rule.wait_s, "least": rule.least, "most": rule.most},
        "days": days, "aim": {"ratio": AIM_RATIO, "late_permille": AIM_LATE_PERMILLE}, "cpu_s": round(time.process_time() - began, 1),
        "holds": all((one["ratio"] or one["ratio_to_bound"]) <= AIM_RATIO and one["late_permille"] <= AIM_LATE_PERMILLE for one in days.values()),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
