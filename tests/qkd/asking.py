"""What tests of the channel ask about sessions and calls of two linked nodes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from workbench_qkd import sessions
from workbench_qkd.carried import name_of
from workbench_qkd.linking import EncryptedLink

from tests.qkd.linked import Linked
from workbench.errors import PeerError


def end(two: Linked) -> None:
    """No session of the broker goes on: the next call needs a fresh key."""
    node = two.nodes["broker"]
    node.store.write(lambda tx: sessions.end_all(tx, node, "a1", cause="test"))


def raw(two: Linked, path: str, body: bytes) -> bytes:
    """What the link alone brings back."""
    return bytes(two.run_soon(EncryptedLink.call(two.link(), path, body, timeout_s=10)))


def newest(two: Linked, party: str, kind: str) -> dict[str, str]:
    return dict(two.entries(party, kind=kind)[-1].values)


def own(two: Linked, party: str = "broker", to: str = "bank") -> Any:
    """The session of a node's calls; the newest in its log may be the other's."""
    link: Any = two.links[party]._links[to][1]  # type: ignore[attr-defined]
    return link._held


def with_key(two: Linked, party: str, key_id: str) -> list[str]:
    """States of the sessions that a node has written down with this key."""
    with two.nodes[party].store.read() as reader:
        return [row[0] for row in reader.execute("SELECT state FROM qkd_session WHERE key_id = ?", (key_id,))]


def causes(two: Linked, party: str, session: str) -> list[str]:
    """Why a node has ended a session."""
    return [one.values["cause"] for one in two.entries(party, kind="qkd.session_ended") if one.values["session"] == session]


def refusal(two: Linked) -> PeerError:
    """What refuses a call in a session that begins now; one that a call in the background began before may still be there."""
    for _ in range(5):
        end(two)
        try:
            two.ask()
        except PeerError as error:
            return error
    raise AssertionError("no call was refused")


@dataclass
class Hellos:
    """What the broker's exchanges asked for: (name, key id, id of the session that is renewed). As `Linked.change`."""

    two: Linked
    revoke_at: str = ""
    renewals_only: bool = False
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    def __call__(self, caller: str, path: str, body: bytes) -> bytes:
        if (caller, path) == ("broker", "qkd/hello"):
            asked = json.loads(body)
            hello = base64.b64decode(asked["hello"])
            if asked["session"] or not self.renewals_only:
                self.seen.append((name_of(hello), hello.split(b'"key_id":"')[1].split(b'"')[0].decode(), asked["session"]))
        if (caller, path) == ("broker", "qkd/hello reply") and self.revoke_at and self.seen:
            node, key_id = self.two.nodes[self.revoke_at], self.seen[-1][1]
            node.store.write(lambda tx: sessions.end_of_keys(tx, node, "a1", [key_id], cause="revoked"))
        return body


def altered(wanted: str) -> Callable[[str, str, bytes], bytes]:
    return lambda party, path, body: body[:-1] + bytes([body[-1] ^ 1]) if (party, path) == ("broker", wanted) else body


def sent(two: Linked) -> list[tuple[str, bytes]]:
    """What the broker's calls and their replies were for the carrier."""
    return [(path, body) for party, path, body in list(two.seen) if party == "broker"]
