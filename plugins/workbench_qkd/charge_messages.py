"""Requests and replies of the operations about charge keys 充注密钥. Document: docs/quantum-channel.md section 11."""

from __future__ import annotations

from pydantic import Field

from workbench.operations import Reply, Request
from workbench_qkd.messages import LineName

ACCOUNT = r"^[a-z][a-z0-9._-]{1,30}$"
DEVICE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
REASON = r"^[^\x00-\x1f\x7f]+$"
MOST_KEYS = 4096


class MediumName(LineName):
    """person: account of a member of staff; device: name of the medium, no person's name."""

    person: str = Field(pattern=ACCOUNT)
    device: str = Field(pattern=DEVICE)


class FillRequest(MediumName):
    """passphrase: of the file, typed by the person who takes the medium; kept nowhere."""

    count: int = Field(default=256, ge=1, le=MOST_KEYS)
    low_water: int = Field(default=16, ge=0, le=MOST_KEYS)
    passphrase: str = Field(min_length=12, max_length=256, repr=False)


class DeliverRequest(MediumName):
    """slave: the far site's application that gets the same key by its id; "" for the first one of that site."""

    slave: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")


class RevokeHolderRequest(Request):
    """A person, a medium, or one medium of a person. disable: end the account too, for administrators."""

    person: str = Field(default="", pattern=r"^([a-z][a-z0-9._-]{1,30})?$")
    device: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")
    disable: bool = False
    reason: str = Field(min_length=5, max_length=200, pattern=REASON)


class ChargeInfo(Reply):
    """One pool. person: token; account, name, roles: as long as this node knows whose it is. state: OPEN, LOW, EMPTY, REVOKING or REVOKED.

    left: charge keys; live: session keys delivered and not ended; per_day: used, days_left: at that pace, -1 for none.
    """

    person: str
    account: str
    name: str
    roles: list[str]
    is_disabled: bool
    device: str
    line: str
    left: int
    low_water: int
    last_counter: int
    live: int
    per_day: float
    days_left: float
    state: str


class ChargesReply(Reply):
    """By person, device and line. waiting: revocations that the entity has not confirmed yet."""

    pools: list[ChargeInfo]
    waiting: int


class FillReply(Reply):
    """download: id of the file, to be taken once within the hour; name: what to call it. replaced: earlier keys destroyed unused."""

    pool: ChargeInfo
    replaced: int
    first: int
    download: str
    name: str


class DeliverReply(Reply):
    """sealed: what the medium opens, hexadecimal, no secret; download, name: the same as a file. slave: who may fetch key_id at the far site, as a key of `master`."""

    session: str
    line: str
    counter: int
    charge_key_id: str
    key_id: str
    provenance: str
    master: str
    slave: str
    left: int
    low: bool
    sealed: str
    download: str
    name: str


class RevokeHolderReply(Reply):
    """What one act ended. account: "disabled", "open" or "" without a person. took_ms: from the call until all this was so.

    renewing: sessions of the channel that take a fresh key before anything more travels in them, or end.
    is_done: the entity has destroyed the mirrors; otherwise the node goes on asking it and problem_* says why it has not.
    """

    person: str
    device: str
    account: str
    tickets: int
    keys: int
    pools: int
    sessions: int
    renewing: int
    is_done: bool
    took_ms: int
    problem_zh: str
    problem_en: str
    problem_code: str


__all__ = [
    "ChargeInfo", "ChargesReply", "DeliverReply", "DeliverRequest", "FillReply", "FillRequest", "MediumName", "RevokeHolderReply", "RevokeHolderRequest",
]  # fmt: skip
