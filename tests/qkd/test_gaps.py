"""Frames that somebody takes away: the other end sees the gap, an entry and the health page say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from workbench_qkd import channel, health
from workbench_qkd.service import service_of

from tests.qkd.asking import end, own
from tests.qkd.linked import Linked
from workbench.channel.session_state import WINDOW
from workbench.errors import PeerError, PeerUnavailable


@pytest.fixture
def two(channel_nodes: Linked, monkeypatch: pytest.MonkeyPatch) -> Iterator[Linked]:
    made = channel_nodes
    monkeypatch.setattr(channel, "PAUSE_S", 0.0)
    made.stock.left, made.stock.away = 200, False
    for node in made.nodes.values():
        service_of(node).missing_frames.clear()
    for links in made.links.values():
        for _, sealed in links._links.values():  # type: ignore[attr-defined]
            if isinstance(sealed, channel.SealedLink):
                sealed._channel.carried()._noting.forget()
    end(made)
    with suppress(PeerError):
        made.ask()
    made.ask()
    yield made
    made.change = lambda party, path, body: body


def missing(two: Linked, party: str, session: str) -> list[str]:
    return [one.values["count"] for one in two.entries(party, kind="qkd.frames_missing") if one.values["session"] == session]


def take_away(two: Linked, number: int, *, replies: bool = False) -> None:
    """The next frames of the broker's calls, or their replies, never arrive."""
    left = [number]
    wanted = "qkd/call reply" if replies else "qkd/call"

    def change(party: str, path: str, body: bytes) -> bytes:
        if (party, path) == ("broker", wanted) and left[0]:
            left[0] -= 1
            raise PeerUnavailable("断了", "cut", code="CONNECTION_LOST")
        return body

    two.change = change
    for _ in range(number):
        with suppress(PeerError):
            two.ask()
    assert not left[0]


def test_frames_that_were_taken_away_are_told_once_the_window_has_passed_them(two: Linked) -> None:
    held = own(two)
    take_away(two, 2)
    two.ask()
    assert own(two) is held and missing(two, "bank", held.name) == [], "they may be on their way yet"
    for _ in range(WINDOW):
        two.ask()
    assert own(two) is held and missing(two, "bank", held.name) == ["1"], "one entry a minute"
    assert service_of(two.nodes["bank"]).missing_frames["broker"][1] == 2, "both are counted"  # type: ignore[index]
    assert "qkd.missing.broker" in {one.name for one in health.reports(service_of(two.nodes["bank"]))}
    assert missing(two, "broker", held.name) == [], "nothing that was sent to the broker is missing"


def test_what_is_missing_when_a_session_ends_is_told_too_and_so_are_replies(two: Linked) -> None:
    held = own(two)
    take_away(two, 1, replies=True)
    two.ask()
    assert own(two) is held
    end(two)
    with suppress(PeerError):
        two.ask()
    assert missing(two, "broker", held.name) == ["1"]


def test_a_quiet_line_leaves_no_such_entry(two: Linked) -> None:
    held = own(two)
    for _ in range(WINDOW + 8):
        two.ask()
    end(two)
    with suppress(PeerError):
        two.ask()
    two.ask()
    assert missing(two, "bank", held.name) == missing(two, "broker", held.name) == []
    assert service_of(two.nodes["bank"]).missing_frames == {}
