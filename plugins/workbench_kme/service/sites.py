"""Making the folders of sites: authorities, certificates, secrets of lines, configurations. Document: section 5.

This is what an installer does once, with both sites at hand: for a demonstration, a test, or a first installation whose
folders are then carried to the two sites. The secrets of a line exist at its two ends and nowhere else.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.crypto import certificates, random
from workbench.crypto.certificates import KeyAndCertificate
from workbench.errors import InvalidRequest
from workbench_kme.service.config import (
    KME_URI,
    NODE_URI,
    SAE_URI,
    SELF_TEST_HOURS,
    LineConfig,
    LineSecrets,
    Peer,
    Quota,
    SiteConfig,
    SiteSecrets,
    format_config,
    format_secrets,
    is_id,
    is_name,
)

AUTHENTICATION_BYTES = 32_768
"""What both ends are given beforehand, half for each direction: the line pays for its own tags once blocks succeed."""
SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class LinePlan:
    """A line to be made. sender, receiver: site ids. options: of the source, the same at both ends.

    end_options: what one end's source needs besides, by site (the device of `device-014`). saes: by site, those that this
    line leads to, by default all of the site: of several lines between two sites each has its own. tenant: the line's tag,
    which its SAEs get too.
    """

    line: str
    sender: str
    receiver: str
    source: str = "simulated"
    options: Mapping[str, Any] = field(default_factory=lambda: {"preset": "metro-10"})
    end_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    demonstration: bool = True
    target_keys: int = 2048
    max_keys: int = 20_000
    low_water: int = 128
    policy: str = "hybrid-required"
    saes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """A site that was made: its folder, ids, addresses. Clients' files lie in `folder/clients`."""

    site: str
    folder: Path
    kme: str
    address: str
    link_address: str
    saes: tuple[str, ...]


def make_sites(
    folder: Path,
    lines: Sequence[LinePlan],
    *,
    now: datetime,
    saes: Mapping[str, Sequence[str]] | None = None,
    passphrases: Mapping[str, str] | None = None,
    hosts: Sequence[str] = ("127.0.0.1", "localhost"),
    ports: Mapping[str, tuple[int, int]] | None = None,
    device: Mapping[str, Any] | None = None,
    quota: Quota | None = None,
    self_test_hours: int = SELF_TEST_HOURS,
    source: random.RandomSource = random.SYSTEM,
) -> dict[str, Site]:
    """Make one folder per site of these lines below `folder`; returns them by site.

    saes: SAE ids by site, by default `sae-<site>`. passphrases: by site, by default none. hosts: names and addresses
    of every KME in its certificate; the first one is where they listen. ports: (site's, link's) by site, by default
    free ones. device, self_test_hours: as in kme.json. source: random bytes of secrets; certificates always use the system's.
    Raises ValueError for a plan that fits no configuration, FileExistsError for a folder that is there.
    """
    names = sorted({site for plan in lines for site in (plan.sender, plan.receiver)})
    if not names or any(plan.sender == plan.receiver for plan in lines) or not all(is_id(name) for name in names):
        raise ValueError("every line joins two different sites")
    taken = _sae_ids(names, saes or {})
    chosen = _ports(names, hosts[0], ports or {})
    authorities = {name: certificates.make_authority(f"{name} kme", now=now) for name in names}
    kmes = {
        name: certificates.issue_certificate(
            authorities[name], name=_kme(name), uri=KME_URI + _kme(name), hosts=hosts, now=now
        )
        for name in names
    }
    secrets = {plan.line: LineSecrets(source(AUTHENTICATION_BYTES), source(SEED_BYTES)) for plan in lines}
    address = {name: tuple(f"{hosts[0]}:{port}" for port in chosen[name]) for name in names}
    made: dict[str, Site] = {}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        place = folder / name
        place.mkdir(mode=0o700)
        node = _make_clients(place, name, taken[name], authorities[name], now)
        own = [plan for plan in lines if name in (plan.sender, plan.receiver)]
        peers = {plan.line: plan.receiver if plan.sender == name else plan.sender for plan in own}
        config = SiteConfig(
            site=name,
            kme=_kme(name),
            address=address[name][0],
            link_address=address[name][1],
            saes=taken[name],
            node_fingerprint=node,
            quota=quota or Quota(),
            device=dict(device or {"backend": "soft"}),
            lines=tuple(
                _line(plan, name, peers[plan.line], address[peers[plan.line]][1], authorities, kmes, taken)
                for plan in own
            ),
            self_test_hours=self_test_hours,
            tenants=_tenants(name, own, taken[name]),
        )
        kept = SiteSecrets(
            tls_key=kmes[name].private_key_pem,
            lines={plan.line: secrets[plan.line] for plan in own},
            device={"passphrase": source(32).hex()},
        )
        write_private(place / "kme.json", format_config(config))
        write_private(place / "secrets.json", format_secrets(kept, (passphrases or {}).get(name, "")))
        write_private(place / "authority.pem", authorities[name].certificate_pem)
        write_private(place / "authority.key", authorities[name].private_key_pem)
        write_private(place / "kme.pem", kmes[name].certificate_pem)
        (place / "inbox").mkdir(mode=0o700)
        made[name] = Site(name, place, config.kme, config.address, config.link_address, config.saes)
    return made


def issue_client(folder: Path, name: str, uri: str, *, now: datetime) -> KeyAndCertificate:
    """One more client of a site whose authority's key is still there, such as a new SAE; files go to `clients/`."""
    return _issue(folder, name, uri, _authority(folder), now)


def certificate_for(folder: Path, application: str, *, now: datetime) -> KeyAndCertificate:
    """Certificate and key of an application of this site; nothing is written. Raises InvalidRequest for an id of another form."""
    if not is_name(application) or application == "node":
        raise InvalidRequest(f"「{application[:64]}」不能作应用编号", f"{application[:64]} cannot be the id of an application", code="MALFORMED")
    return certificates.issue_certificate(_authority(folder), name=application, uri=SAE_URI + application, now=now)


def _authority(folder: Path) -> KeyAndCertificate:
    return KeyAndCertificate((folder / "authority.key").read_bytes(), (folder / "authority.pem").read_bytes())


def write_private(path: Path, data: bytes) -> None:
    """A new file that only this account may touch. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _kme(site: str) -> str:
    return f"kme-{site}"


def _sae_ids(sites: Sequence[str], stated: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    ids = {site: tuple(stated.get(site, (f"sae-{site}",))) for site in sites}
    every = [sae for group in ids.values() for sae in group]
    if len(set(every)) != len(every) or not all(is_name(sae) and sae != "node" for sae in every):
        raise ValueError("SAE ids are different and no `node`")
    return ids


def _ports(sites: Sequence[str], host: str, stated: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Free ports where none are stated: both ends must know each other's before either starts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held: list[socket.socket] = []
    chosen: dict[str, tuple[int, int]] = {}
    try:
        for site in sites:
            if site in stated:
                chosen[site] = stated[site]
                continue
            pair = [socket.create_server((host, 0), family=family) for _ in range(2)]
            held += pair
            chosen[site] = (pair[0].getsockname()[1], pair[1].getsockname()[1])
    finally:
        for one in held:
            one.close()
    return chosen


def _line(
    plan: LinePlan,
    site: str,
    peer: str,
    link_address: str,
    authorities: Mapping[str, KeyAndCertificate],
    kmes: Mapping[str, KeyAndCertificate],
    saes: Mapping[str, tuple[str, ...]],
) -> LineConfig:
    return LineConfig(
        line=plan.line,
        role="sender" if plan.sender == site else "receiver",
        source=plan.source,
        options={**plan.options, **plan.end_options.get(site, {})},
        demonstration=plan.demonstration,
        target_keys=plan.target_keys,
        max_keys=plan.max_keys,
        low_water=plan.low_water,
        policy=plan.policy,
        peer=Peer(
            site=peer,
            kme=_kme(peer),
            link_address=link_address,
            authority=authorities[peer].certificate_pem,
            fingerprint=certificates.describe(kmes[peer].certificate_pem).fingerprint,
            saes=tuple(plan.saes.get(peer, saes[peer])),
        ),
        tenant=plan.tenant,
    )


def _tenants(site: str, plans: Sequence[LinePlan], saes: Sequence[str]) -> dict[str, str]:
    """SAE -> tag of the lines it is for; an SAE has one. Raises ValueError where its lines have several."""
    found = {sae: {plan.tenant for plan in plans if sae in plan.saes.get(site, saes)} for sae in saes}
    if any(len(tags) > 1 for tags in found.values()):
        raise ValueError("an SAE belongs to one tenant: lines of several have SAEs of their own")
    return {sae: tag for sae, tags in found.items() for tag in tags if tag}


def _make_clients(place: Path, site: str, saes: Sequence[str], authority: KeyAndCertificate, now: datetime) -> str:
    """Certificates of the node and of every SAE; returns the fingerprint of the node's."""
    (place / "clients").mkdir(mode=0o700)
    for sae in saes:
        _issue(place, sae, SAE_URI + sae, authority, now)
    node = _issue(place, "node", NODE_URI + site, authority, now)
    return certificates.describe(node.certificate_pem).fingerprint


def _issue(place: Path, name: str, uri: str, authority: KeyAndCertificate, now: datetime) -> KeyAndCertificate:
    pair = certificates.issue_certificate(authority, name=name, uri=uri, now=now)
    write_private(place / "clients" / f"{name}.pem", pair.certificate_pem)
    write_private(place / "clients" / f"{name}.key", pair.private_key_pem)
    return pair
