"""Tickets of the pages' process: by sign-in, in memory, gone for good at its end."""

from __future__ import annotations

import threading

import pytest
from workbench.app.signins import SignIns
from workbench.errors import SignInRequired


def test_a_request_without_a_ticket_belongs_to_nobody() -> None:
    known = SignIns()
    assert known.seen("", "t") is None and known.seen("r", "") is None
    assert known.named("r") is None


def test_a_renewed_ticket_takes_the_place_of_the_old_one_for_every_page_of_the_sign_in() -> None:
    known = SignIns()
    first = known.seen("r", "one")
    assert first is not None and first.current() == "one"
    assert known.seen("r", "two") is first
    assert first.current() == "two" and first.next_after("one", 0) == "two"
    assert first.next_after("two", 0.01) is None


def test_an_ended_sign_in_never_comes_back() -> None:
    """A page left open by one person must not run on with the ticket of the next."""
    known = SignIns()
    first = known.seen("r", "one")
    assert first is not None
    known.end("r")
    with pytest.raises(SignInRequired):
        first.current()
    assert known.named("r") is None
    assert known.seen("r", "two") is None
    with pytest.raises(SignInRequired):
        first.current()


def test_waiting_for_the_next_ticket_ends_with_the_sign_in() -> None:
    known = SignIns()
    first = known.seen("r", "one")
    assert first is not None
    timer = threading.Timer(0.05, known.end, ["r"])
    timer.start()
    assert first.next_after("one", 5) is None
    timer.join()


def test_no_ticket_is_in_what_a_sign_in_shows_of_itself() -> None:
    assert "secret" not in repr(SignIns().seen("r", "secret"))
