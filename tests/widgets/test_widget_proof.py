"""The chain of proof: hashes computed in the browser, every changed bit found, nothing called good that was not computed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from widget_pages import WatchedPage
from workbench_widgets import ProofChain
from workbench_widgets.gallery import page
from workbench_widgets.samples import SIGNATURES, Sample, sample_proof

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
Open = Callable[..., WatchedPage]
RECOMPUTE = (
    "async ([text, proofs]) => { const { recompute } = await import(URL.createObjectURL(new Blob([text + '\\nexport { recompute };'],"
    " { type: 'text/javascript' }))); return Promise.all(proofs.map(async (proof) => { const r = await recompute(proof);"
    " return r.problem || [r.bodyHolds, r.pathHolds]; })); }"
)


def _recompute(opened: WatchedPage, proofs: list[dict[str, Any]]) -> list[Any]:  # Any: proofs and verdicts as JSON
    answers: list[Any] = opened.tab.evaluate(RECOMPUTE, [ProofChain.module_text("const COMPONENT = "), proofs])
    return answers


def _naive_root(proof: dict[str, Any]) -> str | None:  # Any: a proof as JSON
    """The root by the recursive definition of RFC 6962, section 2.1.1, walking down instead of up."""
    path = [bytes.fromhex(sibling) for sibling in proof["path"]]

    def root(index: int, size: int) -> bytes | None:
        if size == 1:
            return bytes.fromhex(proof["leaf_hash"])
        half = 1 << ((size - 1).bit_length() - 1)
        if not path:
            return None
        other = path.pop()
        inner = root(index, half) if index < half else root(index - half, size - half)
        if inner is None:
            return None
        return hashlib.sha256(b"\1" + (inner + other if index < half else other + inner)).digest()

    found = root(proof["index"], proof["size"])
    return found.hex() if found is not None and not path else None


def test_true_proofs_of_all_small_trees_hold_and_agree_with_a_naive_walk(open_page: Open) -> None:
    proofs = [sample_proof(index=index, size=size).proof for size in range(1, 18) for index in range(size)]
    assert all(_naive_root(proof) == proof["root"] for proof in proofs)
    assert _recompute(open_page(page([])), proofs) == [[True, True]] * len(proofs)


def test_every_changed_byte_of_body_path_and_root_is_found(open_page: Open) -> None:
    whole = sample_proof(index=5, size=11)
    changed: list[dict[str, Any]] = []
    expected: list[Any] = []
    for at in range(len(whole.body)):
        body = bytes([*whole.body[:at], whole.body[at] ^ 1, *whole.body[at + 1 :]])
        changed.append({**whole.proof, "body_base64": base64.b64encode(body).decode()})
        expected.append([False, True])
    for level, sibling in enumerate(whole.proof["path"]):
        for at in range(32):
            raw = bytearray.fromhex(sibling)
            raw[at] ^= 0x80
            path = [*whole.proof["path"][:level], raw.hex(), *whole.proof["path"][level + 1 :]]
            changed.append({**whole.proof, "path": path})
            expected.append([True, False])
    for at in range(32):
        raw = bytearray.fromhex(whole.proof["root"])
        raw[at] ^= 1
        changed.append({**whole.proof, "root": raw.hex()})
        expected.append([True, False])
    assert _recompute(open_page(page([])), changed) == expected


def test_proofs_at_another_place_or_of_another_length_do_not_hold(open_page: Open) -> None:
    proof = sample_proof(index=5, size=11).proof
    moved = [{**proof, "index": index} for index in range(11) if index != 5]
    shorter = [
        {**proof, "path": proof["path"][:-1]},
        {**proof, "path": [*proof["path"], proof["root"]]},
        {**proof, "path": []},
    ]
    assert _recompute(open_page(page([])), moved + shorter) == [[True, False]] * len(moved + shorter)


def test_malformed_proofs_are_unchecked_and_never_good(open_page: Open) -> None:
    proof = sample_proof(index=5, size=11).proof
    broken = [
        {**proof, "body_base64": "*"},
        {**proof, "root": proof["root"][:-2]},
        {**proof, "root": proof["root"].upper()},
        {**proof, "path": ["zz" * 32, *proof["path"][1:]]},
        {**proof, "path": None},
        {**proof, "leaf_hash": "00"},
    ]
    assert _recompute(open_page(page([])), broken) == ["malformed"] * len(broken)


def _chain(opened: WatchedPage) -> str:
    chain = opened.box("ProofChain--1").locator("ol.chain")
    return str(chain.get_attribute("aria-label"))


def test_a_changed_body_breaks_the_first_link_and_only_that(open_page: Open) -> None:
    altered = sample_proof(changed=True)
    opened = open_page(
        page([Sample(ProofChain, "changed", {"proof": altered.proof, "signatures": SIGNATURES, "required": 2})])
    )
    opened.box("ProofChain--1").locator(".link.broken").wait_for()
    assert _chain(opened) == "第 1 环不符，第 2 环相符，第 3 环相符"
    opened.assign("ProofChain--1", proof=sample_proof().proof)
    opened.box("ProofChain--1").locator(".link.broken").wait_for(state="detached")
    assert _chain(opened) == "第 1 环相符，第 2 环相符，第 3 环相符"


def test_where_the_browser_cannot_hash_nothing_is_called_verified(open_page: Open) -> None:
    traits = {"proof": sample_proof().proof, "signatures": SIGNATURES, "required": 2}
    html = page([Sample(ProofChain, "no crypto", traits)])
    html = html.replace(
        '<script type="module">',
        "<script>Object.defineProperty(globalThis, 'crypto', { value: {} });</script><script type=\"module\">",
    )
    opened = open_page(html)
    opened.box("ProofChain--1").get_by_text("不能重算哈希").wait_for()
    assert _chain(opened) == "第 1 环未核，第 2 环未核，第 3 环相符"


@pytest.mark.parametrize(
    ("verdicts", "spoken"),
    [
        (("valid", "missing", "missing"), "未核"),
        (("valid", "valid", "missing"), "相符"),
        (("valid", "valid", "invalid"), "不符"),
    ],
)
def test_the_third_link_needs_enough_signatures_and_no_false_one(
    open_page: Open, verdicts: tuple[str, ...], spoken: str
) -> None:
    signatures = [{**one, "verdict": verdict} for one, verdict in zip(SIGNATURES, verdicts, strict=True)]
    opened = open_page(
        page(
            [Sample(ProofChain, "signatures", {"proof": sample_proof().proof, "signatures": signatures, "required": 2})]
        )
    )
    opened.tab.wait_for_function(
        "document.querySelector('.workbench-widget').shadowRoot.querySelectorAll('.link.open').length <= 1"
    )
    assert _chain(opened).endswith(f"第 3 环{spoken}")


def test_the_path_shows_every_recomputed_hash(open_page: Open) -> None:
    proof = sample_proof(index=5, size=11).proof
    opened = open_page(page([Sample(ProofChain, "path", {"proof": proof, "signatures": SIGNATURES})]))
    box = opened.box("ProofChain--1")
    box.get_by_role("button", name="看证明路径").click()
    rows = box.locator(".pathlist tbody tr")
    assert rows.count() == len(proof["path"]) + 2
    assert [cell.get_attribute("title") for cell in rows.last.locator("[title]").all()] == [proof["root"]]
    assert rows.nth(len(proof["path"])).locator("[title]").last.get_attribute("title") == proof["root"]
    assert "命中人数" in box.locator("pre").inner_text()
