"""The proof path and the graph of a job: what is drawn as checked was computed, what is missing is drawn as missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import traitlets
from widget_pages import WatchedPage
from workbench_widgets import JobGraph, ProofPath
from workbench_widgets.gallery import page
from workbench_widgets.samples import BANK, BROKER, CARDNET, TIMED, Sample, sample_proof
from workbench_widgets.samples_evidence import graph_stages, with_both_roots

Open = Callable[..., WatchedPage]
LANES = [BROKER, BANK, CARDNET]
browser_test = [pytest.mark.browser, pytest.mark.timeout(120)]


def flow(**other: Any) -> dict[str, Any]:
    return {"from": "broker", "to": "bank", "text": "提议", "state": "sealed", "id": "broker/1", "count": 3, **other}


def stages(*flows: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": "agreement", "label": "约定", "acts": [], "flows": list(flows)}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "good"}, {"count": -1}, {"to": "broker"}, {"missing": "bank"}, {"missing_count": 1}, {"extra": 1},
        {"missing": "bank", "missing_count": 4}, {"missing": "cardnet", "missing_count": 1}, {"text": "打给 19912345678"},
    ],
)  # fmt: skip
def test_a_graph_that_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    JobGraph(lanes=LANES, stages=stages(flow()))
    with pytest.raises((ValueError, TypeError, traitlets.TraitError)):
        JobGraph(lanes=LANES, stages=stages(flow(**wrong)))


@pytest.mark.parametrize("wrong", [{"index": 213}, {"path": []}, {"sm3": {}}, {"sm3": {"leaf": "", "path": [], "hashes": [], "root": ""}}, {"more": 1}])
def test_a_path_without_all_its_parts_is_refused(wrong: dict[str, Any]) -> None:
    whole = with_both_roots(sample_proof().proof)
    ProofPath(proof=whole)
    with pytest.raises((ValueError, TypeError, traitlets.TraitError)):
        ProofPath(proof={**whole, **wrong})
    with pytest.raises((ValueError, traitlets.TraitError)):
        ProofPath(anchors=[{"label": "链", "word": "好", "state": "good"}])


def drawn(open_page: Open, *proofs: dict[str, Any], required: int = 2, **options: Any) -> WatchedPage:
    states = [Sample(ProofPath, f"p{number}", {"proof": proof, "signatures": TIMED, "required": required}) for number, proof in enumerate(proofs)]
    opened = open_page(page(states), **options)
    opened.tab.wait_for_function("() => [...document.querySelectorAll('.workbench-widget')].every((w) => w.shadowRoot.querySelector('.sum b')?.textContent.match(/通过|作准|Verified|final|verified/))")
    return opened


def marks(opened: WatchedPage, number: int) -> list[str]:
    """The tone of each check, in order: body, path, SM3, text, signatures."""
    rows = opened.box(f"ProofPath--{number + 1}").locator(".checks > li")
    found: list[str] = rows.evaluate_all("(all) => all.map((one) => [...one.classList].find((name) => name.startsWith('ink-')))")
    return [one.removeprefix("ink-") for one in found]


class TestInTheBrowser:
    pytestmark = browser_test

    def test_every_change_breaks_exactly_the_check_it_belongs_to(self, open_page: Open) -> None:
        whole = with_both_roots(sample_proof(index=5, size=11).proof)
        edited = with_both_roots(sample_proof(index=5, size=11, changed=True).proof)
        other = hashlib.sha256(b"another").hexdigest()
        proofs = [
            whole,
            edited,
            {**whole, "path": [other, *whole["path"][1:]]},
            {**whole, "sm3": {**whole["sm3"], "hashes": [*whole["sm3"]["hashes"][:-1], other]}},
            {**whole, "text": whole["text"].replace("\n11\n", "\n12\n")},
            {**whole, "text": whole["text"].replace("sm3 ", "sm3  ")},
        ]
        opened = drawn(open_page, *proofs)
        good = ["sealed"] * 5
        assert marks(opened, 0) == good
        for number, broken in ((1, 0), (2, 1), (3, 2), (4, 3), (5, 3)):
            expected = [*good[:broken], "tampered", *good[broken + 1 :]]
            assert marks(opened, number) == expected, number
            assert "不通过" in opened.text(f"ProofPath--{number + 1}")
        assert "核对通过" in opened.text("ProofPath--1")

    def test_levels_are_those_of_the_path_and_both_trees_can_be_seen(self, open_page: Open) -> None:
        whole = with_both_roots(sample_proof(index=187, size=213).proof)
        opened = drawn(open_page, whole, with_both_roots(sample_proof(index=0, size=1).proof))
        box = opened.box("ProofPath--1")
        assert box.locator(".climb li.level").count() == len(whole["path"])
        first = hashlib.sha256(b"\1" + bytes.fromhex(whole["path"][0]) + bytes.fromhex(whole["leaf_hash"])).hexdigest()
        assert box.locator(f".climb .mono[title='{first}']").count() == 1
        box.get_by_role("button", name="SM3").click()
        assert box.locator(f".climb .mono[title='{whole['sm3']['hashes'][0]}']").count() == 1
        assert opened.events("ProofPath--1")[-1]["payload"] == {"tree": "sm3"}
        assert "由节点算出" in opened.text("ProofPath--1")
        assert marks(opened, 1) == ["sealed"] * 5

    def test_too_few_signatures_are_not_final_whatever_else_agrees(self, open_page: Open) -> None:
        opened = drawn(open_page, with_both_roots(sample_proof().proof), required=4)
        assert marks(opened, 0) == ["sealed"] * 4 + ["pending"] and "还不能作准" in opened.text("ProofPath--1")

    def test_nothing_moves_for_who_wants_no_motion(self, open_page: Open) -> None:
        count = "() => document.querySelector('.workbench-widget').shadowRoot.getAnimations().length"
        assert drawn(open_page, sample_proof().proof, reduced_motion="reduce").tab.evaluate(count) == 0

    def test_a_gap_is_a_ring_on_the_side_that_lacks_the_record(self, open_page: Open) -> None:
        samples = [
            Sample(JobGraph, "gap", {"lanes": LANES, "stages": stages(flow(missing="bank", missing_count=2, state="pending"))}),
            Sample(JobGraph, "whole", {"lanes": LANES, "stages": graph_stages()}),
        ]
        opened = open_page(page(samples))
        gap = opened.box("JobGraph--1")
        rings = gap.locator(".flow circle[stroke-dasharray], .flow circle").evaluate_all("(all) => all.map((one) => [one.getAttribute('cx'), one.style.strokeDasharray])")
        assert [bool(dash) for _, dash in rings] == [False, True] and rings[1][0].startswith("50")
        assert "乙银行没有其中 2 条的记录" in opened.text("JobGraph--1")
        assert opened.box("JobGraph--2").locator(".flow.lonely").count() == 0

    def test_every_act_and_flow_is_reached_and_chosen_by_keyboard(self, open_page: Open) -> None:
        opened = open_page(page([Sample(JobGraph, "whole", {"lanes": LANES, "stages": graph_stages()})]))
        buttons = opened.box("JobGraph--1").locator(".act, .flow")
        ids = buttons.evaluate_all("(all) => all.map((one) => one.dataset.id)")
        buttons.first.focus()
        for name in ids:
            opened.tab.keyboard.press("Enter")
            assert opened.events("JobGraph--1")[-1]["payload"] == {"id": name}
            opened.tab.keyboard.press("Tab")
        assert opened.state("JobGraph--1", "selected") == ids[-1]
