"""A small Panel page with components, started by test_widget_panel in a process of its own: ``FILE PORT``."""

from __future__ import annotations

import sys
import threading
from typing import Any

import panel as pn
from workbench_widgets import AnswerStrip, Lanes, RuleBuilder, Waterfall
from workbench_widgets.panel_pane import pane
from workbench_widgets.samples import BANK, BROKER, CARDNET, COLUMNS, WATERFALL_ROWS, many_lane_rows

SWINGS = 40

pn.extension(sizing_mode="stretch_width", notifications=False)


def build() -> pn.Column:
    """One page: an answer that repeats what happened, a waterfall, lanes and a rule."""
    answer = AnswerStrip(sentence="还没有事件", theme="light", actions=[{"name": "go", "label": "去处理最急的一件"}, {"name": "swing", "label": "来回换"}])
    fall = Waterfall(rows=WATERFALL_ROWS, theme="light")
    lanes = Lanes(lanes=[BROKER, BANK, CARDNET], rows=many_lane_rows(1000), height=320, theme="light")
    rule = RuleBuilder(columns=COLUMNS, theme="light")

    def repeat(name: str, payload: dict[str, Any]) -> None:
        if name == "action" and payload["name"] == "swing":
            for number in range(SWINGS):
                with answer.at_once():
                    answer.sentence, answer.reason, answer.todo = ("坏", "第二个理由", "处理") if number % 2 else ("好", "第一个理由", "")
                    answer.state = "tampered" if number % 2 else "sealed"
            answer.code = "SWUNG"
        elif name == "action":
            # From another thread, as a job's progress would come.
            threading.Thread(target=lambda: answer.set_trait("sentence", "另一线程收到 go"), daemon=True).start()
        elif name == "select":
            answer.sentence = f"选中 {payload['index']}，selected = {lanes.selected}"
            for one in (answer, fall, lanes, rule):
                one.theme, one.lang = "dark", "en"
        elif name == "rule":
            answer.sentence = f"规则 {rule.rule}"

    for one in (answer, lanes, rule):
        one.on_action(repeat)
    return pn.Column(*(pane(one) for one in (answer, fall, lanes, rule)))


if __name__ == "__main__":
    port = int(sys.argv[1])
    pn.serve({"page": build}, port=port, address="127.0.0.1", show=False, websocket_origin=[f"127.0.0.1:{port}"])  # type: ignore[no-untyped-call]
