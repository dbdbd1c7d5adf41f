"""Three co-signing logs: which note is anchored, and what the chain shows about partners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.anchor.evm import CHAIN_ID, Anvil
from tests.ledger.world import BANK, BROKER, CARDNET, PARTIES, World
from workbench.domain.evidence import EntryRef
from workbench.errors import Refused
from workbench.store.database import Database
from workbench_anchor import contract, tables
from workbench_anchor.anchoring import Anchoring
from workbench_anchor.chain import Account
from workbench_anchor.contract import ChainHead
from workbench_anchor.house import House
from workbench_anchor.notes import GATHER_MS, origin_id, read_note
from workbench_anchor.schema import MIGRATIONS, SETTINGS


class Host:
    """The broker of a world of three, as far as anchoring uses a node; its evidence is a list."""

    kind, project, party = "test", "evidence", BROKER

    def __init__(self, world: World, folder: Path, **settings: Any) -> None:
        self.world = world
        self.folder = folder
        self.store = Database(folder / "anchor.db", MIGRATIONS, reserve_bytes=0)
        self.settings = {one.name: one.default for one in SETTINGS} | {f"anchor.{k}": v for k, v in settings.items()}
        self.recorded: list[tuple[str, dict[str, str]]] = []
        self.evidence = self
        self.clock_ms = world.broker.now_ms

    def append(self, tx: object, kind: str, values: Mapping[str, str], *, actor: str = "") -> EntryRef:
        self.recorded.append((kind, dict(values)))
        return EntryRef(BROKER, 1_000_000 + len(self.recorded), bytes(32))

    def provider(self, contract: object) -> object:
        return self.world.broker.ledger

    def parties(self) -> tuple[str, ...]:
        return PARTIES

    def setting(self, name: str) -> Any:
        return self.settings[name]

    def now_ms(self) -> int:
        return self.clock_ms


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "world")
    yield made
    made.close()


@pytest.fixture
def host(world: World, tmp_path: Path) -> Iterator[Host]:
    made = Host(world, tmp_path)
    yield made
    made.store.close()


def next_note(house: House, *, covered: int = 0, force: bool = False) -> tuple[int, tuple[str, ...]] | None:
    note = house.next_note("rfc3161", covered=covered, since_ms=0, force=force)
    return None if note is None else (note.size, note.cosigners)


def test_a_due_note_waits_for_all_co_signatures_but_not_for_ever(world: World, host: Host) -> None:
    house = House(host)  # type: ignore[arg-type]  # as much of a node as is asked for
    world.broker.write(5)
    world.exchange(BROKER, BANK)
    assert next_note(house) is None
    assert next_note(house, force=True) == (5, ("bank", "broker"))
    host.clock_ms += GATHER_MS - 1
    assert next_note(house) is None
    host.clock_ms += 1
    assert next_note(house) == (5, ("bank", "broker"))
    world.settle(BROKER)
    fresh = House(host)  # type: ignore[arg-type]  # as above
    assert next_note(fresh) == (5, PARTIES)
    assert next_note(fresh, covered=5) is None


def test_the_best_co_signed_note_that_covers_something_new_is_taken(world: World, host: Host) -> None:
    """A newer one that nobody has signed waits its turn."""
    house = House(host)  # type: ignore[arg-type]  # as above
    world.broker.write(4)
    world.settle(BROKER)
    world.broker.write(3)
    assert next_note(house) == (4, PARTIES)
    assert next_note(house, covered=4, force=True) is not None
    world.settle(BROKER)
    assert next_note(house, covered=4) == (7, PARTIES)


def test_the_digest_of_a_note_covers_every_signature_line(world: World) -> None:
    world.broker.write(2)
    world.settle(BROKER)
    text = world.broker.ledger.own_checkpoint()
    note = read_note(text)
    lines = text.splitlines(keepends=True)
    assert len(lines) >= 5 + 7
    for dropped in range(6, len(lines)):
        fewer = read_note("".join(lines[:dropped] + lines[dropped + 1 :]))
        assert fewer.checkpoint == note.checkpoint
        assert fewer.digest != note.digest


@pytest.mark.parametrize(
    ("size", "same", "expected"),
    [(3, True, []), (3, False, [("bank", "SPLIT_VIEW")]), (99, False, [])],
    ids=["as mirrored", "other roots", "ahead of the mirror"],
)
def test_a_partner_who_shows_the_regulator_another_history_is_found(
    world: World, host: Host, anvil: Anvil, size: int, same: bool, expected: list[tuple[str, str]]
) -> None:
    """Every institution compares every log on the chain with its own mirror."""
    for party in (BROKER, BANK, CARDNET):
        world.nodes[party].write(4)
    world.settle()
    address = anvil.deploy()
    origin = origin_id("evidence", BANK)
    anvil.send(anvil.regulator, address, contract.register_call(origin, anvil.regulator.address))
    house = House(host)  # type: ignore[arg-type]  # as above
    roots = world.broker.ledger.roots_at(BANK, size) if same else (b"\1" * 32, b"\2" * 32)
    anvil.send(anvil.regulator, address, contract.anchor_call(origin, ChainHead(size, *roots, b"\3" * 32)))
    host.settings |= {
        "anchor.chain_url": anvil.url,
        "anchor.chain_id": CHAIN_ID,
        "anchor.chain_contract": "0x" + address.hex(),
    }
    anchoring = Anchoring(house)
    anchoring.account = lambda: Account.from_key(b"\x07" * 32)  # type: ignore[method-assign]  # the vault is another test's
    with pytest.raises(Refused, match="CHAIN_NOT_SENDER"):  # the broker itself is not registered here
        anchoring.round()
    with host.store.read() as reader:
        assert [(one.log, one.problem) for one in tables.findings(reader)] == expected
    assert [values["origin"] for kind, values in host.recorded if kind == "anchor.conflict"] == [
        log for log, _ in expected
    ]
