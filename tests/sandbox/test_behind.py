"""An engine beside its sandbox: the worker has no network, one descriptor more, and reads a sealed corpus; the evidence says so."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.sandbox.test_starting import STARTS
from tests.sandbox.upstream_server import UpstreamServer
from tests.sandbox.world import LIMITS, SERVER, TENANT, Tenant, World, lacking_gvisor, now_ms, until
from workbench.crypto import sm3
from workbench.domain.documents import SourceDocument
from workbench.domain.party import PartyId
from workbench_sandbox.corpus import build
from workbench_sandbox.corpus.sealing import seal_corpus
from workbench_sandbox.formats import carried
from workbench_sandbox.formats import manifest as manifests
from workbench_sandbox.formats.asking import Cite, Dropped, Open, Text, format_stop
from workbench_sandbox.server import volumes
from workbench_sandbox.server.processes import ServerProcesses
from workbench_sandbox.server.runtime import EngineCode

# An image of its own, measured and compiled, is three seconds of a processor; test_upstream.py carries the same bytes without a sandbox.
pytestmark = [STARTS, pytest.mark.soak]
TEXT = "澄澜一号混合型证券投资基金的管理费率为1.20%。基金经理为陆砚舟。"
CODE = EngineCode("workbench_sandbox.engines.upstream:OpenAIHttp", ("workbench_sandbox.corpus.search",))


@dataclass
class Behind(World):
    """A provider whose operator named a server."""

    address: str = ""
    key: str = ""
    model: str = field(default="plain")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.servers.close()
        upstream = {"address": self.address, "model": self.model, "key": self.key}
        self.servers = ServerProcesses(self.folder / "servers", self.volumes, engines={"openai-http": CODE}, upstream=upstream, look_s=0.5, isolation=self.isolation)

    def make_image(self, *, listing: bytes | None = None, limits: manifests.Limits = LIMITS) -> str:
        listing = self.servers.listing("openai-http") if listing is None else listing
        engine = manifests.Engine("openai-http", "upstream", "1", "behind")
        made = manifests.Manifest(PartyId(TENANT), "large", "1", engine, (), sm3.digest(listing).hex(), limits, (), now_ms())
        folder = volumes.image_folder(self.volumes, TENANT, made.id)
        (folder / "files").mkdir(parents=True)
        (folder / volumes.MANIFEST).write_bytes(manifests.sign_manifest(made, key=self.contract))
        (self.volumes / TENANT).chmod(0o700)
        self.image = made.id
        return made.id

    def put_corpus(self, key: bytes) -> str:
        """A sealed corpus in the volume; its name."""
        document = SourceDocument("fund-0001", "fund", "1", "澄澜一号混合", "合成", 1, "public", True, TEXT)
        sealed = b"".join(seal_corpus(build([document], None, progress=lambda done, total: None), key))
        name = sm3.digest(sealed).hex()
        folder = volumes.corpora_folder(self.volumes, TENANT)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(sealed)
        return name


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamServer]:
    made = UpstreamServer()
    yield made
    made.close()


@pytest.fixture(
    scope="module", params=["bubblewrap", pytest.param("gvisor", marks=pytest.mark.skipif(bool(lacking_gvisor()), reason=lacking_gvisor() or "it can be started"))]
)
def tenant(request: pytest.FixtureRequest, upstream: UpstreamServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tenant, str]]:
    folder = tmp_path_factory.mktemp("behind")
    (folder / "key").write_text("k-123")
    world = Behind(folder, address=f"127.0.0.1:{upstream.port}", key=str(folder / "key"), isolation=request.param)
    try:
        key = secrets.token_bytes(32)
        corpus = world.put_corpus(key)
        world.make_image()
        made = world.leased(SERVER)
        made.open()
        made.say(carried.format_corpus_open(carried.CorpusOpen(corpus, corpus, key)), "corpus.open")
        ready = carried.parse_corpus_ready(next(made.opened()).payload)
        assert (ready.documents, ready.code) == (1, "")
        yield made, corpus
    finally:
        world.close()


def asked(tenant: tuple[Tenant, str], **changes: Any) -> str:
    return tenant[0].ask("澄澜一号的管理费率是多少？", corpus=tenant[1], kinds=("fund",), **changes)


def test_evidence_names_the_engine_beside_and_nothing_else_is_missing(tenant: tuple[Tenant, str]) -> None:
    statement = tenant[0].statement
    states = {one.name: one.state for one in statement.controls}
    assert states["engine-inside"] == "off" and statement.image.engine.place == "behind"
    assert states["no-network"] == states["clean-start"] == states["filter"] == "on" and not statement.probe.failed


def test_a_question_goes_out_through_the_launcher_and_its_answer_is_cited(tenant: tuple[Tenant, str], upstream: UpstreamServer) -> None:
    for _ in range(2):
        records, end = tenant[0].answer_of(asked(tenant))
        assert end.state == "answered" and end.citations == 1 and end.dropped == 1
        assert next(one for one in records if isinstance(one, Open)).place == "behind"
        assert "".join(one.d for one in records if isinstance(one, Text)) == "管理费率为1.20%[1]。" and Dropped("number", 1) in records
        [cite] = [one for one in records if isinstance(one, Cite)]
        assert cite.span_sm3 == sm3.digest(TEXT[cite.start : cite.end].encode()).hex()
    assert upstream.seen[-1][1]["authorization"] == "Bearer k-123"


def test_a_stop_reaches_the_server_and_the_next_question_is_answered(tenant: tuple[Tenant, str], upstream: UpstreamServer) -> None:
    upstream.gone.clear()
    upstream.forced = "endless"
    try:
        before = len(upstream.seen)
        name = asked(tenant)
        until(lambda: len(upstream.seen) > before)
        tenant[0].say(format_stop(name), "ask.stop")
        _, end = tenant[0].answer_of(name)
        assert end.state == "stopped"
        assert upstream.gone.wait(10)
    finally:
        upstream.forced = ""
    assert tenant[0].answer_of(asked(tenant))[1].state == "answered"
