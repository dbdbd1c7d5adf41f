"""Two sites on this machine, their KMEs as real processes, and clients of both."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from workbench_kme.service import supervise
from workbench_kme.service.client import Credentials, Ets014Client, ManagementClient
from workbench_kme.service.config import Quota
from workbench_kme.service.sites import LinePlan, Site, make_sites
from workbench_kme.sources.imported import make_key_file

T = TypeVar("T")
LINE = "metro"
SENDER, RECEIVER = "broker", "provider"
SAES = {SENDER: ("sae-broker", "sae-desk"), RECEIVER: ("sae-sandbox", "sae-backup")}
WAIT_S = 120.0  # a machine without compiled kernels takes half a minute for the first block


def until(found: Callable[[], T], *, what: str, limit_s: float = WAIT_S) -> T:
    """The first true value of `found`."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        value = found()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"it never came to this: {what}")


@dataclass
class Pair:
    """Both sites of one line."""

    folder: Path
    sites: dict[str, Site]
    clients: dict[str, Ets014Client | ManagementClient] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, plan: LinePlan) -> Pair:
        generous = Quota(burst=1_000_000, per_minute=60_000_000, kept_back=0)
        return cls(folder, make_sites(folder, [plan], now=datetime.now(UTC), saes=SAES, quota=generous))

    def start(self, *sites: str) -> None:
        supervise.start_kmes(self.folder, sites=sites)

    def stop(self, *sites: str) -> None:
        supervise.stop_kmes(self.folder, sites=sites)

    def kill(self, site: str) -> None:
        assert supervise.kill_kme(self.folder, site)

    def credentials(self, site: str, name: str) -> Credentials:
        return Credentials.from_site(self.sites[site].folder, name, kme=self.sites[site].kme)

    def sae(self, name: str) -> Ets014Client:
        """The one client of an SAE: a KME limits how many connections it holds."""
        if name not in self.clients:
            site = next(site for site, names in SAES.items() if name in names)
            self.clients[name] = Ets014Client(self.sites[site].address, self.credentials(site, name))
        client = self.clients[name]
        assert isinstance(client, Ets014Client)
        return client

    def node(self, site: str) -> ManagementClient:
        """The one client of a site's node."""
        if site not in self.clients:
            self.clients[site] = ManagementClient(self.sites[site].address, self.credentials(site, "node"))
        client = self.clients[site]
        assert isinstance(client, ManagementClient)
        return client

    def await_step(self) -> None:
        """Until both ends say that they are in step."""
        nodes = [self.node(site) for site in self.sites]
        until(lambda: all(one.line(LINE).in_step and one.line(LINE).peer_reachable for one in nodes), what="in step")

    def bring_file(self, count: int, name: str = "keys.wbki") -> None:
        """The same file of keys into the inbox of both sites; returns when both have them in stock."""
        before = [self.node(site).line(LINE).available for site in self.sites]
        data = make_key_file(LINE, count)
        for site in (RECEIVER, SENDER):
            path = self.sites[site].folder / "inbox" / name
            path.write_bytes(data)
            path.chmod(0o600)
        self.node(SENDER).recover(LINE)
        until(
            lambda: all(
                self.node(site).line(LINE).available >= had + count // 2
                for site, had in zip(self.sites, before, strict=True)
            ),
            what="the file's keys in stock at both ends",
        )

    def copy_of(self, site: str, into: Path) -> None:
        """A backup of a stopped site's folder."""
        shutil.copytree(self.sites[site].folder, into)

    def close(self) -> None:
        for one in self.clients.values():
            one.close()
        self.stop()


def imported_plan(**changes: object) -> LinePlan:
    """A line whose keys come from files: there at once, without a block to distil."""
    plan = {
        "line": LINE,
        "sender": SENDER,
        "receiver": RECEIVER,
        "source": "imported",
        "options": {},
        "demonstration": False,
        "target_keys": 100_000,
        "max_keys": 1_000_000,
        "low_water": 4,
    }
    return LinePlan(**{**plan, **changes})  # type: ignore[arg-type]
