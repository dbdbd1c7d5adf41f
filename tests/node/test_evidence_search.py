"""The search index: against a naive model, after a restore, after another version, and page by page."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from workbench_ledger import search as search_module
from workbench_ledger.ledger import Ledger
from workbench_ledger.schema import MIGRATIONS
from workbench_ledger.search import SearchIndex
from workbench_ledger.search_schema import MIGRATIONS as SEARCH_MIGRATIONS

from tests.ledger.world import BANK, BROKER, CARDNET, PARTIES, PINNED, World
from workbench.crypto import sm3
from workbench.crypto.random import SeededSource
from workbench.domain.envelope import build_envelope, parse_envelope
from workbench.domain.evidence import EvidenceKind, Field, Visibility
from workbench.domain.party import PartyId
from workbench.domain.search import PageKey, SearchQuery, parse_page_key
from workbench.store.database import Database

START_MS = 1_795_000_000_000
KINDS = {
    name: EvidenceKind(
        name, (*(Field(field, Visibility.SHARED, field, field) for field in fields), Field("n", Visibility.COMMITTED, "n", "n")), name, name
    )
    for name, fields in {
        "intersection.proposed": ("partner", "terms"),
        "intersection.message": ("partner", "digest"),
        "intersection.viewed": (),
        "campaign.opened": ("campaign",),
        "consent.withdrawn": ("root",),
        "lists.imported": ("root",),
        "ledger.started": ("root",),
    }.items()
}  # fmt: skip
JOBS = ("", "J-20261121-00000001", "J-20261121-00000002", "J-20261122-00000003")
ACTORS = ("", "P-1", "P-2", "P-3")


@dataclass(frozen=True)
class Known:
    """One entry as the model knows it."""

    log: PartyId
    index: int
    time_ms: int
    kind: str
    job: str
    actor: str
    campaign: str
    digests: tuple[str, ...]

    @property
    def key(self) -> PageKey:
        return PageKey(self.time_ms, self.log, self.index)


class House:
    """Three nodes with random entries, co-signed in part, and a plain list of everything that was written."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.world = World(folder)
        for node in self.world.nodes.values():
            node.store.close()
            node.store = Database(node.path, [*MIGRATIONS, *SEARCH_MIGRATIONS], reserve_bytes=0)
            node.ledger = Ledger(
                node.store, node.party, node.keys, lambda: PINNED, lambda: START_MS, participants=self._taking_part
            )
        self.chance = random.Random(seed)
        self.known: list[Known] = []
        self._jobs: dict[tuple[str, str], frozenset[PartyId]] = {}
        self._states: dict[tuple[str, int], str] = {}

    @property
    def index(self) -> SearchIndex:
        return self.world.broker.ledger.index

    def write(self, party: PartyId, count: int) -> None:
        self._states.clear()
        node = self.world.nodes[party]
        bodies = [self._body(party, node.salts) for _ in range(count)]
        start = node.ledger.size(party)
        node.store.write(lambda tx: node.ledger.append(tx, bodies))
        for index, body in enumerate(bodies, start):
            envelope = parse_envelope(body)
            values = [*envelope.refs, *envelope.shared.values()]
            digests = [one.rpartition(":")[2] for one in values if len(one.rpartition(":")[2]) == 64]
            leaf = b"\0" + body
            digests += [hashlib.sha256(leaf).hexdigest(), sm3.digest(leaf).hex()]
            if envelope.job:
                self._jobs[party, envelope.job] = self._jobs.get((party, envelope.job), frozenset()) | envelope.participants
            self.known.append(
                Known(party, index, envelope.time_ms, envelope.kind, envelope.job, envelope.actor,
                      envelope.shared.get("campaign", ""), tuple(digests))
            )  # fmt: skip

    def _body(self, party: PartyId, salts: SeededSource) -> bytes:
        chance = self.chance
        kind = chance.choice(list(KINDS))
        job = chance.choice(JOBS)
        # A job has one partner for each log: the two that are not alike would be no job of two institutions.
        partner = [one for one in PARTIES if one != party][JOBS.index(job) % 2]
        texts = {"partner": partner, "campaign": chance.choice(("AUTUMN", "SPRING"))}
        values = {field.name: texts.get(field.name) or f"{chance.getrandbits(256):064x}" for field in KINDS[kind].fields}
        refs = [f"sm3:{chance.getrandbits(256):064x}"] if chance.random() < 0.3 else []
        # Clocks are set back now and then: the order of time is not the order of a log.
        time_ms = START_MS + len(self.known) * 10 + chance.randrange(-400, 400)
        return build_envelope(
            KINDS[kind], values, time_ms=time_ms, log=party, job=job, actor=chance.choice(ACTORS), refs=refs, salts=salts
        )[0]

    def _taking_part(self, log: PartyId, job: str) -> frozenset[PartyId]:
        """As a node knows it from its jobs and from the entries of the others."""
        return self._jobs.get((log, job), frozenset())

    def state(self, one: Known) -> str:
        """What the ledger says of an entry; asked once while nothing is written."""
        if (one.log, one.index) not in self._states:
            self._states[one.log, one.index] = self.world.broker.ledger.seal(one.log, one.index).state.lower()
        return self._states[one.log, one.index]

    def answer(self, query: SearchQuery) -> list[Known]:
        """What the index must say, by looking at everything."""
        ledger = self.world.broker.ledger
        held = {log: ledger.size(log) for log in PARTIES}

        def fits(one: Known) -> bool:
            return all(
                (
                    one.index < held[one.log],
                    not query.log or one.log == query.log,
                    not query.kinds or any(one.kind == name or (name.endswith(".") and one.kind.startswith(name)) for name in query.kinds),
                    not query.job or one.job == query.job,
                    not query.jobs or one.job in query.jobs,
                    not query.campaign or one.campaign == query.campaign,
                    not query.actors or one.actor in query.actors,
                    not query.digest or any(digest.startswith(query.digest) for digest in one.digests),
                    query.from_ms is None or one.time_ms >= query.from_ms,
                    query.until_ms is None or one.time_ms < query.until_ms,
                    not query.state or self.state(one) == query.state,
                    query.places is None or (one.log == BROKER and one.index in query.places),
                    query.before is None or one.key < query.before,
                )
            )

        return sorted((one for one in self.known if fits(one)), key=lambda one: one.key, reverse=True)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("search") / "nodes", seed=7)
    for _ in range(12):
        for party in PARTIES:
            made.write(party, made.chance.randrange(20, 50))
        made.world.exchange(BANK, BROKER)
        made.world.exchange(BROKER, BANK)
        if made.chance.random() < 0.5:
            made.world.settle(BROKER)
    made.world.exchange(CARDNET, BROKER)
    made.world.settle(BANK)
    made.write(BROKER, 60)
    made.world.exchange(BROKER, BANK)
    made.write(BROKER, 30)
    assert made.index.catch_up(10_000)
    yield made
    made.world.close()


def queries(house: House, count: int) -> Iterator[SearchQuery]:
    """Random questions, most of them with several conditions."""
    chance = house.chance
    times = sorted(one.time_ms for one in house.known)
    for _ in range(count):
        one = SearchQuery(limit=chance.choice((1, 3, 40, 1000)))
        choices: dict[str, Any] = {
            "log": chance.choice((*PARTIES, "")),
            "kinds": chance.choice((("intersection.",), ("consent.withdrawn",), ("lists.", "campaign.opened"), ("nothing.here",))),
            "job": chance.choice((*JOBS[1:], "J-20261121-ffffffff")),
            "jobs": chance.choice((JOBS[1:3], ("J-20261121-ffffffff", JOBS[3]))),
            "campaign": chance.choice(("AUTUMN", "WINTER")),
            "actors": chance.choice((("P-1",), ("P-2", "P-3"), ("P-9",))),
            "digest": chance.choice(chance.choice(house.known).digests)[: chance.choice((8, 11, 16, 40, 64))],
            "from_ms": chance.choice(times),
            "until_ms": chance.choice(times),
            "state": chance.choice(("pending", "sealed", "full")),
            "places": tuple(chance.sample(range(600), 60)),
            "before": chance.choice(house.known).key,
        }
        for name in chance.sample(sorted(choices), chance.choice((0, 1, 1, 2, 2, 3, 4))):
            one = replace(one, **{name: choices[name]})
        yield one


def test_every_question_gets_what_looking_at_everything_gives(house: House) -> None:
    answered = 0
    for query in queries(house, 600):
        expected = house.answer(query)
        found = house.index.search(query)
        assert [one.key for one in found] == [one.key for one in expected[: query.limit]], query
        assert house.index.count(replace(query, before=None)) == len(house.answer(replace(query, before=None)))
        for hit, known in zip(found, expected, strict=False):
            assert (hit.kind, hit.job, hit.actor) == (known.kind, known.job, known.actor)
        answered += bool(found)
    assert answered > 200


def test_every_state_occurs_and_is_the_one_that_the_ledger_gives(house: House) -> None:
    seen = set()
    for hit in house.index.search(SearchQuery(limit=1000)):
        state = house.world.broker.ledger.seal(hit.log, hit.index)
        assert hit.state == state.state.lower()
        seen.add(hit.state)
    assert seen == {"pending", "sealed", "full"}


def test_pages_follow_one_another_without_a_gap_while_entries_are_added(house: House) -> None:
    query = SearchQuery(kinds=("intersection.",), limit=37)
    expected = [one.key for one in house.answer(query)]
    found: list[PageKey] = []
    while page := house.index.search(query):
        found += [one.key for one in page]
        query = replace(query, before=parse_page_key(str(page[-1].key)))
        if len(found) == 74:
            house.write(BROKER, 5)
            house.index.catch_up()
    assert found == expected


@pytest.mark.parametrize("text", ["", "1", "1.broker", "01.broker.2", "1.broker.02", "1.Broker.2", "1.broker.2 ", "-1.broker.2"])
def test_another_spelling_of_a_page_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_page_key(text)


def whole(house: House) -> list[Any]:
    return house.index.search(SearchQuery(limit=1000))


def test_another_version_of_the_index_reads_everything_again_and_says_how_far_it_is(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.index.catch_up(10_000)
    before = whole(house)
    monkeypatch.setattr(search_module, "VERSION", 2)
    assert [one.covered for one in house.index.coverage()] == [0, 0, 0]
    assert not house.index.catch_up(most=10)
    house.index.step(limit=50)
    assert {one.covered for one in house.index.coverage()} == {50} and not all(one.is_whole for one in house.index.coverage())
    while house.index.step():
        pass
    assert all(one.is_whole for one in house.index.coverage())
    assert whole(house) == before
    monkeypatch.setattr(search_module, "VERSION", 1)
    assert house.index.catch_up(10_000)


def test_a_log_that_is_another_one_than_was_read_is_read_again(tmp_path: Path) -> None:
    """As after a restore: shorter, and longer than what was read but different."""
    made = House(tmp_path / "one", seed=3)
    made.write(BROKER, 80)
    made.index.catch_up()
    made.world.broker.store.checkpoint()
    older = tmp_path / "older.db"
    shutil.copyfile(made.world.broker.path, older)
    made.write(BROKER, 40)
    made.index.catch_up()
    # Somebody puts the log of the older copy, and another history, under the index of the newer one.
    with made.world.broker.store.read() as reader:
        read = reader.execute("SELECT covered, leaf FROM ledger_search_state").fetchone()
    made.world.close()

    def reopened(size: int) -> House:
        again = House(tmp_path / f"again{size}", seed=3)
        again.write(BROKER, 80)
        again.chance.seed(99)
        again.write(BROKER, size - 80)
        again.index.catch_up()
        again.world.broker.store.write(
            lambda tx: tx.execute("UPDATE ledger_search_state SET covered = ?, leaf = ?", tuple(read)) and None
        )
        return again

    for size in (90, 150):
        again = reopened(size)
        assert again.index.coverage()[1].covered == 0
        assert again.index.catch_up() and again.index.coverage()[1].covered == size
        assert [one.key for one in whole(again)] == [one.key for one in again.answer(SearchQuery(limit=1000))]
        again.world.close()


def test_a_body_that_is_no_envelope_is_counted_and_found_by_its_place_only(tmp_path: Path) -> None:
    made = House(tmp_path / "one", seed=5)
    made.write(BROKER, 9)
    odd = (b"no json", b'{"kind":"a.b","time":"yesterday"}', b'{"kind":["x"],"time":3,"refs":{},"shared":[]}', b"[" * 40_000)
    for place, body in enumerate(odd, 2):
        made.world.broker.store.write(lambda tx, place=place, body=body: tx.execute("UPDATE entry SET body = ? WHERE idx = ?", (body, place)) and None)
    made.world.broker.store.write(lambda tx: tx.execute("DELETE FROM entry WHERE idx = 7") and None)
    assert made.index.catch_up()
    assert made.index.coverage()[1].covered == 9
    hits = {one.index: one.kind for one in whole(made)}
    assert sorted(hits) == list(range(9)) and [hits[index] for index in (2, 3, 4, 5, 7)] == [""] * 5
    leaf = made.world.broker.ledger.leaves(BROKER, 2, 3)[0][0].hex()
    assert [one.index for one in made.index.search(SearchQuery(digest=leaf))] == [2]
    made.world.close()


