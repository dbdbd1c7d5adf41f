"""Two KMEs that make keys of a simulated line: blocks, an eavesdropper, a process killed in the middle of a block."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kme_pair import LINE, RECEIVER, SENDER, Pair, imported_plan, until
from workbench_kme.service import supervise
from workbench_kme.service.views import Block

from workbench.errors import KeyUnavailable, Refused

PULSES = 40_000_000
"""245,000 sifted bits at 10 km: the smallest round block that pays for its finite size; about 150 keys."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    plan = imported_plan(
        source="simulated",
        options={"preset": "metro-10", "pulses": PULSES},
        demonstration=True,
        target_keys=500,
        max_keys=5000,
    )
    made = Pair.make(tmp_path_factory.mktemp("simulated") / "sites", plan)
    try:
        made.start()
        until(lambda: made.node(SENDER).line(LINE).state == "full", what="a full stock")
        yield made
    finally:
        made.close()


def test_both_ends_hold_the_same_blocks_and_keys_that_are_called_simulated(pair: Pair) -> None:
    here, there = pair.node(SENDER), pair.node(RECEIVER)
    until(lambda: [one.keys for one in there.blocks(LINE)] == [one.keys for one in here.blocks(LINE)], what="the same blocks")
    for one in here.blocks(LINE):
        assert (one.state, one.provenance, one.aborted, one.alarm) == ("stored", "simulated", "", "")
        assert 0.015 < one.qber < 0.035 and one.keys * 256 <= one.length_bits < one.sifted and one.efficiency > 1
    key = pair.sae("sae-broker").get_keys("sae-sandbox")[0]
    assert key.provenance == "simulated" and key.extension["workbench_provenance"]["quantum"] is False
    assert pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [key.key_id])[0].value == key.value


def test_an_eavesdropper_is_noticed_before_eleven_percent_and_recovery_follows(pair: Pair) -> None:
    node = pair.node(SENDER)
    until(lambda: len([one for one in node.blocks(LINE) if one.state == "stored"]) >= 4, what="a baseline")
    with pytest.raises(Refused, match="AT_THE_OTHER_END"):
        pair.node(RECEIVER).eavesdrop(LINE, "intercept-resend", 0.1)
    node.eavesdrop(LINE, "intercept-resend", 0.05)
    until(lambda: node.line(LINE).state == "alarm", what="the alarm")
    block = node.blocks(LINE, limit=1)[0]
    assert block.state in ("quarantined", "aborted") and block.keys == 0
    assert 0.03 < block.qber < 0.06  # far below 11 %
    assert {one.kind for one in node.alarms(open_only=True)} & {"qber-drift", "rate-collapse"}
    with pytest.raises(KeyUnavailable, match="ALARM"):
        pair.sae("sae-broker").get_keys("sae-sandbox")
    node.eavesdrop(LINE, "intercept-resend", 0)
    until(lambda: node.line(LINE).state in ("full", "making"), what="recovery")
    until(lambda: not pair.node(RECEIVER).line(LINE).open_alarms, what="recovery at the other end")
    assert until(lambda: fresh(pair), what="keys are given out again")


def test_blinded_detectors_change_nothing_that_the_line_measures(pair: Pair) -> None:
    node = pair.node(SENDER)
    before = node.line(LINE).last_block
    node.eavesdrop(LINE, "detector-blinding", 1.0)
    until(lambda: node.line(LINE).last_block > before, what="a block under attack")
    block = node.blocks(LINE, limit=1)[0]
    assert (block.state, block.alarm) == ("stored", "")  # said plainly on the page: this attack is not seen
    node.eavesdrop(LINE, "detector-blinding", 0)


@pytest.mark.parametrize("victim", [RECEIVER, SENDER])
def test_a_kme_killed_in_the_middle_of_a_block_leaves_nothing_half_done(pair: Pair, victim: str) -> None:
    for _ in range(4):
        last = pair.node(SENDER).line(LINE).last_block
        pair.node(SENDER).recover(LINE)  # one more block now
        until(lambda last=last: numbered(pair, RECEIVER) > last + 1, what="the block has begun")  # type: ignore[misc]
        pair.kill(victim)
        met = not any(has_keys_of(pair, site, last + 1) for site in pair.sites)
        pair.start(victim)
        pair.await_step()
        if met:
            break
    assert met, "every block was whole before the kill came, as it may be once on a busy machine"
    pair.node(SENDER).recover(LINE)
    newest = until(lambda: stored_after(pair, SENDER, last + 1), what="a stored block with a new number")
    theirs = until(lambda: [one for one in pair.node(RECEIVER).blocks(LINE) if one.block == newest.block], what="it at the other end")
    assert (theirs[0].state, theirs[0].keys) == ("stored", newest.keys)
    for site in pair.sites:
        until(lambda site=site: pair.node(site).line(LINE).stock["GENERATED"] == 0, what="no key half made")  # type: ignore[misc]
        kept = {one.block: one.keys for one in pair.node(site).blocks(LINE)}
        assert kept.get(last + 1, 0) == 0
    key = pair.sae("sae-backup").get_keys("sae-broker", number=5)
    fetched = pair.sae("sae-broker").get_keys_by_id("sae-backup", [one.key_id for one in key])
    assert [one.value for one in fetched] == [one.value for one in key]


def stored_after(pair: Pair, site: str, number: int) -> Block | None:
    """The first stored block with a higher number, None while there is none: others may be made meanwhile."""
    later = [one for one in pair.node(site).blocks(LINE) if one.block > number and one.state == "stored"]
    return min(later, key=lambda one: one.block, default=None)


def numbered(pair: Pair, site: str) -> int:
    """The next block number that a site has on disk."""
    return int(on_disk(pair, site, "SELECT next_block FROM service_line")[0][0])


def has_keys_of(pair: Pair, site: str, block: int) -> bool:
    """Whether a site has written down a block with keys; read from the disk of one that may be dead."""
    return any(keys for (keys,) in on_disk(pair, site, "SELECT keys FROM service_block WHERE block = ?", block))


def on_disk(pair: Pair, site: str, sql: str, *values: int) -> list[tuple[int, ...]]:
    """Rows of a site's database, read from outside."""
    with closing(sqlite3.connect(f"file:{pair.sites[site].folder / 'kme.sqlite'}?mode=ro", uri=True, timeout=20)) as database:
        return database.execute(sql, values).fetchall()


def test_a_kme_that_hangs_is_waited_for_and_the_stock_stays_usable_afterwards(pair: Pair) -> None:
    pid = supervise.running_kmes(pair.folder)[RECEIVER].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: not pair.node(SENDER).line(LINE).peer_reachable, what="the silence is noticed")
        with pytest.raises(KeyUnavailable, match="PEER_UNREACHABLE"):
            pair.sae("sae-broker").get_keys("sae-sandbox")
    finally:
        os.kill(pid, signal.SIGCONT)
    pair.await_step()
    assert pair.sae("sae-broker").get_keys("sae-sandbox")


def test_a_new_key_for_everything_takes_the_old_ones_out_at_both_ends(pair: Pair) -> None:
    had = pair.node(SENDER).line(LINE).stock["STORED"]
    assert pair.node(SENDER).rekey(LINE, reason="exercise") >= had
    until(lambda: pair.node(RECEIVER).line(LINE).stock["REVOKED"] >= had, what="revoked at the other end")
    until(lambda: pair.node(SENDER).line(LINE).available > 0, what="fresh keys")
    key = until(lambda: fresh(pair), what="a fresh key")
    assert pair.node(SENDER).key(key).state == "RESERVED"


def fresh(pair: Pair) -> str:
    """The id of a key for the first master, or "" while the ends are being brought in step."""
    try:
        return pair.sae("sae-broker").get_keys("sae-sandbox")[0].key_id
    except KeyUnavailable:
        return ""


def test_no_key_and_no_seed_lies_in_plain_in_a_database_or_a_log(pair: Pair) -> None:
    keys = pair.sae("sae-broker").get_keys("sae-sandbox", number=20)
    pair.sae("sae-sandbox").get_keys_by_id("sae-broker", [one.key_id for one in keys])
    time.sleep(0.1)
    for site in pair.sites.values():
        for path in [*site.folder.glob("kme.sqlite*"), *(site.folder / "run").iterdir(), *Path(site.folder).glob("*.mark")]:
            data = path.read_bytes()
            for one in keys:
                assert one.value not in data and one.value.hex().encode() not in data, path.name
