"""A site's configuration and secrets as values, and their only readers. Document: key-delivery.md section 5."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from workbench.crypto import canonical, wrap
from workbench.errors import KeyUnavailable, StartRefused, VerificationError
from workbench_kme.keys.model import is_tag

KME_URI = "workbench:kme:"
SAE_URI = "workbench:sae:"
NODE_URI = "workbench:kme-node:"

SECRETS_PURPOSE = "kme-site"
POLICIES = ("qkd-required", "hybrid-required", "pqc-only")
ROLES = ("sender", "receiver")
MAX_CONFIG_BYTES = 1 << 20
SELF_TEST_HOURS = 24
MOST_SELF_TEST_HOURS = 720

_ID = re.compile(r"[a-z][a-z0-9-]{1,30}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a line. authority: PEM of its site's authority; fingerprint: of its KME's certificate."""

    site: str
    kme: str
    link_address: str
    authority: bytes
    fingerprint: str
    saes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineConfig:
    """One line as this end knows it. options: what the source needs, checked by the source. tenant: its tag, "" for none."""

    line: str
    role: str
    source: str
    options: Mapping[str, Any]
    demonstration: bool
    target_keys: int
    max_keys: int
    low_water: int
    policy: str
    peer: Peer
    tenant: str = ""

    @property
    def is_sender(self) -> bool:
        """Whether this end starts the blocks."""
        return self.role == "sender"

    @property
    def parity(self) -> int:
        """Index modulo 2 of the keys that masters of this end get (two-way key pool)."""
        return 0 if self.is_sender else 1


@dataclass(frozen=True, slots=True)
class Quota:
    """What every SAE of a site may take: at once, what comes back each minute, what is kept for higher priority."""

    burst: int = 1024
    per_minute: int = 6000
    kept_back: int = 0


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """`kme.json`. self_test_hours: pause between two self-tests; 0 for none, where every line is a demonstration.

    tenants: SAE of `saes` -> its tag; the others have none.
    """

    site: str
    kme: str
    address: str
    link_address: str
    saes: tuple[str, ...]
    node_fingerprint: str
    quota: Quota
    device: Mapping[str, Any]
    lines: tuple[LineConfig, ...]
    self_test_hours: int = SELF_TEST_HOURS
    tenants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LineSecrets:
    """authentication: given to both ends beforehand, for the first tags. seed: of the simulated world, or empty."""

    authentication: bytes = field(repr=False)
    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SiteSecrets:
    """`secrets.json`. device: what opens the key-encryption key, by the device's own names."""

    tls_key: bytes = field(repr=False)
    lines: Mapping[str, LineSecrets] = field(repr=False)
    device: Mapping[str, Any] = field(repr=False)


def is_id(text: str) -> bool:
    """Whether this is the id of a site or a line."""
    return _ID.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether this is the id of a KME or an SAE."""
    return _NAME.fullmatch(text) is not None


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`. Raises ValueError."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[2]) > 65535:
        raise ValueError("an address is host:port")
    return found[1].strip("[]"), int(found[2])


def format_config(config: SiteConfig) -> bytes:
    """The bytes of `kme.json`. Raises ValueError when `parse_config` would not read them back."""
    data = canonical.format(
        {
            "v": 1,
            "site": config.site,
            "kme": config.kme,
            "address": config.address,
            "link_address": config.link_address,
            "saes": list(config.saes),
            "node_fingerprint": config.node_fingerprint,
            "quota": {
                "burst": config.quota.burst,
                "per_minute": config.quota.per_minute,
                "kept_back": config.quota.kept_back,
            },
            "device": dict(config.device),
            "lines": [_line_as_json(line) for line in config.lines],
            "self_test_hours": config.self_test_hours,
            "tenants": dict(config.tenants),
        }
    )
    if parse_config(data) != config:
        raise ValueError("this configuration has no form in kme.json")
    return data


def parse_config(data: bytes) -> SiteConfig:
    """The configuration whose bytes these are. Raises ValueError that names the member at fault."""
    try:
        value = canonical.parse_object(data)
    except VerificationError as error:
        raise ValueError("kme.json is not canonical JSON") from error
    names = {"v", "site", "kme", "address", "link_address", "saes", "node_fingerprint", "quota", "device", "lines"}
    _members({"self_test_hours": SELF_TEST_HOURS, "tenants": {}} | value, names | {"self_test_hours", "tenants"}, "kme.json")
    _check(value["v"] == 1, "v")
    site, kme = _text(value, "site", is_id), _text(value, "kme", is_name)
    saes = _names(value["saes"], "saes")
    fingerprint = _text(value, "node_fingerprint", lambda text: text == "" or bool(_FINGERPRINT.fullmatch(text)))
    for name in ("address", "link_address"):
        split_address(_text(value, name, lambda _text: True))
    lines = tuple(_parse_line(one) for one in _of(value, "lines", list))
    _check(len({line.line for line in lines}) == len(lines), "lines: two of one name")
    others = [sae for line in lines for sae in line.peer.saes]
    _check(len(set(others)) == len(others) and not set(others) & set(saes), "saes: one SAE at two sites or lines")
    _check(kme not in {line.peer.kme for line in lines}, "lines: a line to this KME itself")
    hours = _whole(value, "self_test_hours", 0, MOST_SELF_TEST_HOURS) if "self_test_hours" in value else SELF_TEST_HOURS
    only_shown = bool(lines) and all(line.demonstration for line in lines)
    _check(hours > 0 or only_shown, "self_test_hours: 0 is for demonstrations only")
    return SiteConfig(
        site=site,
        kme=kme,
        address=str(value["address"]),
        link_address=str(value["link_address"]),
        saes=saes,
        node_fingerprint=fingerprint,
        quota=_parse_quota(value["quota"]),
        device=_of(value, "device", dict),
        lines=lines,
        self_test_hours=hours,
        tenants=_parse_tenants(value.get("tenants", {}), saes),
    )


def format_secrets(secrets: SiteSecrets, passphrase: str) -> bytes:
    """The bytes of `secrets.json`, wrapped when there is a passphrase. Cost with one: 0.1 s and 64 MiB."""
    plain = canonical.format(
        {
            "v": 1,
            "tls_key": secrets.tls_key.decode("ascii"),
            "lines": {
                name: {"authentication": one.authentication.hex(), "seed": one.seed.hex()}
                for name, one in secrets.lines.items()
            },
            "device": dict(secrets.device),
        }
    )
    return wrap.wrap(plain, passphrase, purpose=SECRETS_PURPOSE) if passphrase else plain


def parse_secrets(data: bytes, passphrase: str) -> SiteSecrets:
    """What `format_secrets` wrote. Raises KeyUnavailable, one code for every cause."""
    try:
        value = canonical.parse_object(data)
        if "sealed" in value:
            value = canonical.parse_object(wrap.unwrap(data, passphrase, purpose=SECRETS_PURPOSE))
        _members(value, {"v", "tls_key", "lines", "device"}, "secrets.json")
        lines: dict[str, LineSecrets] = {}
        for name, one in _of(value, "lines", dict).items():
            _members(one, {"authentication", "seed"}, name)
            lines[name] = LineSecrets(bytes.fromhex(one["authentication"]), bytes.fromhex(one["seed"]))
        return SiteSecrets(_of(value, "tls_key", str).encode("ascii"), lines, _of(value, "device", dict))
    except (ValueError, TypeError, VerificationError) as error:
        raise KeyUnavailable(
            "站点的 secrets.json 无法解锁：口令不符或文件被改动；请密钥管理员核对",
            "the site's secrets.json does not unlock: wrong passphrase or altered file; key staff must check",
            code="KEY_LOCKED",
        ) from error


def read_config(folder: Path) -> SiteConfig:
    """The configuration of a site's folder. Raises StartRefused."""
    try:
        return parse_config(read_private(folder, "kme.json"))
    except ValueError as error:
        raise StartRefused(
            f"站点 {folder.name} 的 kme.json 有误（{error}）：请运维人员改正",
            f"kme.json of site {folder.name} is wrong ({error}): operators must correct it",
            code="KME_CONFIG",
        ) from error


def read_private(folder: Path, name: str) -> bytes:
    """A file of a site's folder, refused when others may touch it. Raises StartRefused."""
    path = folder / name
    try:
        for place in (folder, path):
            facts = os.lstat(place)
            if stat.S_ISLNK(facts.st_mode) or facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
                raise StartRefused(
                    f"站点文件 {place.name} 可被他人访问：请管理员改为仅本账户可读写",
                    f"{place.name} of the site is open to others: make it readable by this account only",
                    code="KME_EXPOSED",
                )
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise StartRefused(
            f"站点文件 {name} 不可读：请运维人员核对文件夹",
            f"{name} of the site cannot be read: operators must check the folder",
            code="KME_FOLDER",
        ) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise StartRefused(f"站点文件 {name} 过大", f"{name} of the site is too large", code="KME_FOLDER")
    return data


def _line_as_json(line: LineConfig) -> dict[str, object]:
    peer = line.peer
    return {
        "line": line.line,
        "role": line.role,
        "source": line.source,
        "options": dict(line.options),
        "demonstration": line.demonstration,
        "target_keys": line.target_keys,
        "max_keys": line.max_keys,
        "low_water": line.low_water,
        "policy": line.policy,
        "tenant": line.tenant,
        "peer": {
            "site": peer.site,
            "kme": peer.kme,
            "link_address": peer.link_address,
            "authority": peer.authority.decode("ascii"),
            "fingerprint": peer.fingerprint,
            "saes": list(peer.saes),
        },
    }


def _parse_quota(value: Any) -> Quota:  # Any: parsed JSON
    _members(value, {"burst", "per_minute", "kept_back"}, "quota")
    return Quota(
        burst=_whole(value, "burst", 1, 1_000_000),
        per_minute=_whole(value, "per_minute", 0, 60_000_000),
        kept_back=_whole(value, "kept_back", 0, 1_000_000),
    )


def _parse_line(value: Any) -> LineConfig:  # Any: parsed JSON
    names = {
        "line", "role", "source", "options", "demonstration", "target_keys", "max_keys", "low_water", "policy", "peer",
    }  # fmt: skip
    _members({"tenant": ""} | value, names | {"tenant"}, "a line")
    peer = value["peer"]
    _members(peer, {"site", "kme", "link_address", "authority", "fingerprint", "saes"}, "peer")
    split_address(_text(peer, "link_address", lambda _text: True))
    max_keys = _whole(value, "max_keys", 2, 10_000_000)
    target = _whole(value, "target_keys", 1, max_keys)
    return LineConfig(
        line=_text(value, "line", is_id),
        role=_text(value, "role", lambda text: text in ROLES),
        source=_text(value, "source", is_id),
        options=_of(value, "options", dict),
        demonstration=_of(value, "demonstration", bool),
        target_keys=target,
        max_keys=max_keys,
        low_water=_whole(value, "low_water", 0, target),
        policy=_text(value, "policy", lambda text: text in POLICIES),
        peer=Peer(
            site=_text(peer, "site", is_id),
            kme=_text(peer, "kme", is_name),
            link_address=peer["link_address"],
            authority=_of(peer, "authority", str).encode("ascii"),
            fingerprint=_text(peer, "fingerprint", lambda text: bool(_FINGERPRINT.fullmatch(text))),
            saes=_names(peer["saes"], "peer.saes"),
        ),
        tenant=_text({"tenant": ""} | value, "tenant", lambda text: text == "" or is_tag(text)),
    )


def _parse_tenants(value: Any, saes: tuple[str, ...]) -> dict[str, str]:  # Any: parsed JSON
    _check(isinstance(value, dict) and set(value) <= set(saes), "tenants: SAEs of this site")
    _check(all(isinstance(one, str) and is_tag(one) for one in value.values()), "tenants")
    return dict(value)


def _members(value: Any, names: set[str], where: str) -> None:  # Any: parsed JSON
    _check(isinstance(value, dict) and set(value) == names, f"{where} has other members than it should")


def _of(value: Any, name: str, kind: type[T]) -> T:  # Any: parsed JSON
    found = value[name]
    if type(found) is not kind:
        raise ValueError(name)
    return found


def _text(value: Any, name: str, holds: Any) -> str:  # Any: parsed JSON; a predicate
    text = _of(value, name, str)
    _check(holds(text), name)
    return text


def _whole(value: Any, name: str, least: int, most: int) -> int:  # Any: parsed JSON
    number = _of(value, name, int)
    _check(least <= number <= most, name)
    return number


def _names(value: Any, name: str) -> tuple[str, ...]:  # Any: parsed JSON
    _check(isinstance(value, list) and all(isinstance(one, str) and is_name(one) for one in value), name)
    _check(len(set(value)) == len(value), name)
    return tuple(value)


def _check(holds: bool, name: str) -> None:
    if not holds:
        raise ValueError(name)
