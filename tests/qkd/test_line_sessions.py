"""A provider's end of sessions with sandboxes: its people end them like the tenant's, and nothing of one stays open when its sandbox is gone."""

from __future__ import annotations

from typing import Any

import pytest
from workbench_inference.leasing.line_sessions import LineSessions
from workbench_qkd import policies

from tests.qkd.test_outside import BANK, BROKER, NAME, SANDBOX, Two, two  # noqa: F401 - the fixture
from workbench.errors import Refused

BOX = "sb-0011223344556677"


class Provider:
    """The bank's node as a provider; the broker takes the keys."""

    def __init__(self, world: Two) -> None:
        self.world, self.lines = world, LineSessions(world.far_node)

    def begin(self, *, renews: bool = False) -> None:
        share = self.world.keys().fresh(BANK, name=NAME, renews=renews, **SANDBOX)
        assert share is not None
        if renews:
            self.world.write(lambda tx: self.world.keys().opened(tx, NAME, session="0a" * 16, suite="x"))
        self.world.keys("bank").named(BROKER, share.key_id, name=NAME, renews=renews, **SANDBOX)
        self.lines.begun(BOX, self.world.keys("bank"), NAME)

    def state(self) -> Any:
        return (self.world.row("bank") or ("",))[0]

    def cause(self) -> str:
        return self.world.last("qkd.session_ended", "bank")["cause"]


@pytest.fixture
def provider(two: Two) -> Provider:  # noqa: F811 - the fixture
    return Provider(two)


def test_a_session_is_open_from_the_confirm_on_and_ends_with_its_sandbox(provider: Provider) -> None:
    provider.begin()
    assert provider.state() == "OPENING"
    provider.lines.require_live(BOX)
    provider.lines.agreed(BOX)
    provider.lines.agreed(BOX)
    provider.lines.require_live(BOX)
    assert provider.state() == "OPEN"
    assert [one[2] for one in provider.world.far.asked if one[0] == "consume"] == [NAME], "its entity knows what the key was for"
    provider.lines.keep({BOX})
    assert provider.state() == "OPEN"
    provider.lines.keep(set())
    assert (provider.state(), provider.cause()) == ("ENDED", "released")


def test_a_line_that_is_stopped_here_lets_no_frame_pass_and_the_tenant_learns_no_reason(provider: Provider) -> None:
    provider.begin()
    provider.lines.agreed(BOX)
    provider.lines.require_live(BOX)
    provider.world.write(lambda tx: policies.hold(tx, "a1", at_ms=1, cause="rate-collapse", block=3), "bank")
    for _ in range(2):
        with pytest.raises(Refused, match="SANDBOX_REFUSED"):
            provider.lines.require_live(BOX)
    assert (provider.state(), provider.cause()) == ("ENDED", "revoked")
    provider.world.write(lambda tx: tx.execute("DELETE FROM qkd_held"), "bank")
    with pytest.raises(Refused, match="SANDBOX_REFUSED"):
        provider.lines.require_live(BOX)


def test_an_exchange_that_fails_leaves_nothing_open_and_a_renewal_that_fails_leaves_the_session(provider: Provider) -> None:
    provider.begin()
    provider.lines.failed(BOX, Refused("不行", "no", code="SANDBOX_REFUSED"))
    assert provider.state() == "REFUSED"
    provider.world.write(lambda tx: provider.world.keys().ended(tx, NAME, cause="refused"))
    provider.lines.require_live(BOX)


def test_a_renewal_takes_the_place_of_the_running_key(provider: Provider) -> None:
    provider.begin()
    provider.lines.agreed(BOX)
    provider.world.write(lambda tx: provider.world.keys().opened(tx, NAME, session="0a" * 16, suite="x"))
    provider.lines.require_live(BOX)
    first = provider.world.row("bank")
    provider.begin(renews=True)
    provider.lines.require_live(BOX)
    assert first is not None and provider.world.row("bank")[3] == first[3], "the old key until the confirm"  # type: ignore[index]
    provider.lines.agreed(BOX)
    provider.lines.require_live(BOX)
    assert provider.world.row("bank")[3] != first[3]  # type: ignore[index]
    assert provider.world.last("qkd.session_renewed", "bank")["epoch"] == "1"
    provider.begin(renews=True)
    provider.lines.failed(BOX, Refused("不行", "no", code="SANDBOX_REFUSED"))
    provider.lines.require_live(BOX)
    assert provider.state() == "OPEN"


def test_a_session_without_a_key_of_a_line_has_nothing_to_look_at(provider: Provider) -> None:
    provider.begin()
    provider.lines.agreed(BOX)
    provider.lines.begun_without(BOX)
    assert (provider.state(), provider.cause()) == ("ENDED", "replaced")
    provider.lines.require_live(BOX)
    provider.lines.agreed(BOX)
