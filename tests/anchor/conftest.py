from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.anchor.authority import HAS_OPENSSL, CertificateAuthority, Server, Signer, stamps
from tests.anchor.evm import CHAIN_ID, Anvil
from tests.host.house import House, copied, opened, template
from workbench.workspace import Workspace
from workbench_anchor.anchoring import WHAT as EVM
from workbench_anchor.service import AnchorService, service_of


@dataclass
class Anchored:
    """One institution with anchoring, and a clock that starts at the machine's time: authorities use theirs."""

    house: House

    @property
    def service(self) -> AnchorService:
        return service_of(self.house.node)

    def write(self, count: int = 1) -> None:
        """Entries of an everyday kind."""
        node = self.house.node
        for _ in range(count):
            node.store.write(lambda tx: node.evidence.append(tx, "people.password_changed", {}) and None)

    def kinds(self) -> list[str]:
        """Kinds of the entries that anchoring wrote, oldest first."""
        node = self.house.node
        with node.store.read() as reader:
            return [
                one.kind for one in reversed(node.evidence.search(reader, limit=1000)) if one.kind.startswith("anchor.")
            ]


Open = Callable[..., Anchored]


@pytest.fixture(scope="session")
def institution(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return template(tmp_path_factory.mktemp("anchor"))


@pytest.fixture
def open_house(institution: Workspace, tmp_path: Path) -> Iterator[Open]:
    """Opens the institution with settings; again with `workspace` as it was left."""
    with ExitStack() as stack:

        def begin(workspace: Workspace | None = None, *, pinned: bytes = b"", **settings: Any) -> Anchored:
            place = workspace or copied(institution, tmp_path / "institution")
            if pinned:
                (place.node_folder("broker") / "tsa.pem").write_bytes(pinned)
            named = {f"anchor.{name}": value for name, value in settings.items()}
            house = stack.enter_context(opened(place, settings=named))
            house.clock.now_ms = int(time.time() * 1000)
            return Anchored(house)

        yield begin


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    if not HAS_OPENSSL:
        pytest.skip("the OpenSSL command is not installed")
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def signer(authority: CertificateAuthority) -> Signer:
    return authority.signer("tsa")


@pytest.fixture
def server(signer: Signer) -> Iterator[Server]:
    made = Server(stamps(signer))
    yield made
    made.close()


@pytest.fixture(scope="session")
def anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anvil]:
    running = Anvil(tmp_path_factory.mktemp("anvil"))
    yield running
    running.stop()


@pytest.fixture
def on_chain(open_house: Open, anvil: Anvil) -> Anchored:
    """An institution whose account the regulator has registered in a fresh contract; two confirmations."""
    return on_a_chain(open_house, anvil)


def on_a_chain(open_house: Open, anvil: Anvil, **settings: Any) -> Anchored:
    address = anvil.deploy()
    usual = {"chain_url": anvil.url, "chain_id": CHAIN_ID, "chain_contract": "0x" + address.hex(), "confirmations": 2}
    one = open_house(**{**usual, **settings})
    account = one.service.anchoring.make_account(actor="P-1")
    anvil.register(address, one.house.node.project, "broker", account)
    return one


def until_anchored(one: Anchored, anvil: Anvil) -> None:
    """Anchor now, let the chain grow, look again."""
    one.service.round(EVM, force=True)
    anvil.mine(2)
    one.service.round(EVM)
