"""Images: which there are, and signing one. docs/protocols/sandbox.md section 3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from pydantic import Field

from workbench.contracts import EngineRecipe, OperationContext
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, NotFound
from workbench.operations import NoInput, Operation, Request
from workbench_inference.engines import served_inside
from workbench_inference.leasing import images, launching, replies
from workbench_inference.leasing.keys import LeasingHost
from workbench_inference.leasing.service import tenant_of
from workbench_inference.roles import at_both, at_tenant
from workbench_sandbox.formats.manifest import Licence, parse_manifest
from workbench_sandbox.server import programs

LOOKERS: Final = frozenset({Role.OPERATOR, Role.ADVISER, Role.AUDITOR, Role.REGULATOR, Role.COMPLIANCE, Role.ADMIN, Role.MARKETING, Role.APPROVER, Role.PROVIDER_OPERATOR})
SIGNERS: Final = frozenset({Role.ADMIN, Role.OPERATOR})


class SignRequest(Request):
    """engine: of one that is installed here. name "": the engine's. runtime "": the listing of this installation, `image`, or the 64
    hex of the listing that the provider has. program: server that is started inside, of setting inference.programs; "" for none. licence, source: of the weights, as the person who signs states them; "" the recipe's.
    words_only: an extractive engine without its embedding model, smaller and soon ready, which searches by words alone and says so."""

    engine: str = Field(max_length=64)
    name: str = Field(default="", pattern=r"(?:[a-z][a-z0-9-]{0,62})?")
    version: str = Field(default="1.0", pattern=r"[\x21-\x7e]{1,32}")
    runtime: str = Field(default="", pattern=r"(?:image|[0-9a-f]{64})?")
    program: str = Field(default="", pattern=r"(?:[a-z][a-z0-9-]{0,62})?")
    licence: str = Field(default="", max_length=200)
    source: str = Field(default="", max_length=200)
    words_only: bool = False


def models(ctx: OperationContext, _request: NoInput) -> replies.ImagesReply:
    """Images, the newest first, and engines of which one could be signed."""
    with ctx.host.store.read() as reader:
        found = reader.execute("SELECT signature, state, tenant, id, made_ms FROM inference_image ORDER BY made_ms DESC LIMIT 200").fetchall()
    told = [_told(bytes(one[0]), str(one[1])) for one in found if one[0]]
    return replies.ImagesReply(images=told, recipes=[f"{one.name} {one.kind} {one.version}" for one in ctx.host.answer_engines()], programs=programs.names(ctx.host.setting("inference.programs"), here=False))


def sign(ctx: OperationContext, request: SignRequest) -> replies.ImageTold:
    """Measure an engine's files, copy them into the own store, sign their manifest."""
    host = tenant_of(ctx.host).host
    recipe = next((one for one in host.answer_engines() if one.name == request.engine), None)
    if recipe is None:
        raise NotFound(f"没有安装引擎「{request.engine}」", f"No engine {request.engine} is installed", code="NO_ENGINE")
    if request.words_only:
        recipe = _words_only(recipe)
    program = ("", "")
    if request.program:
        recipe, program = _served(host, recipe, request.program)
    runtime = request.runtime or launching.own_listing(recipe.name, request.program, host.setting("inference.programs"))
    try:
        made = images.register(
            host, recipe, name=request.name or recipe.name.replace("_", "-"), version=request.version, runtime=runtime, licences=_licences(recipe, request),
            actor=ctx.caller.person.token, program=program, progress=lambda done, total: ctx.progress(done, total, "核对文件", "measuring files"),
        )  # fmt: skip
    except ValueError as error:
        raise InvalidRequest(f"镜像清单不成立：{error}", f"The manifest does not hold: {error}", code="IMAGE_MANIFEST") from error
    return _told(images.written_of(host, made.id), "signed")


def _served(host: LeasingHost, recipe: EngineRecipe, program: str) -> tuple[EngineRecipe, tuple[str, str]]:
    """The recipe of an image whose server is started inside, and what its manifest says of it."""
    if recipe.kind != "upstream":
        raise InvalidRequest(f"引擎「{recipe.name}」不用推理服务", f"Engine {recipe.name} asks no server", code="ENGINE_HAS_NO_SERVER", details={"engine": recipe.name})
    return served_inside(recipe, host.setting("inference.programs"), program)


def _words_only(recipe: EngineRecipe) -> EngineRecipe:
    """The same without weights; only what quotes can do without a model."""
    if recipe.kind != "extractive":
        raise InvalidRequest(f"引擎「{recipe.name}」没有模型文件就不能回答；只按词检索的只有摘录引擎", f"Engine {recipe.name} cannot answer without its model; only the extractive engine searches by words alone", code="ENGINE_NEEDS_MODEL")
    return replace(recipe, files=tuple)


def _licences(recipe: EngineRecipe, request: SignRequest) -> list[Licence]:
    weights = [one.path for one in recipe.files() if one.role in ("weights", "sealed")]
    return [Licence(one, request.licence or recipe.licence_en, request.source or recipe.name) for one in sorted(weights)]


def _told(written: bytes, state: str) -> replies.ImageTold:
    return replies.ImageTold(**images.summary(parse_manifest(written)), state=state)


def _operation(**members: Any) -> Operation:
    return Operation(**members)


IMAGE_OPERATIONS: Final = (
    *at_both(
        (
            _operation(
                name="inference.models", zh="查看镜像与引擎", en="look at images and engines", request=NoInput, reply=replies.ImagesReply, roles=LOOKERS, run=models,
                reads_only=True, weak_token=True,
            ),
        )
    ),
    *at_tenant(
        (
            _operation(
                name="inference.model_sign", zh="签署镜像清单", en="sign an image's manifest", request=SignRequest, reply=replies.ImageTold, roles=SIGNERS, run=sign,
                fresh_password=True, evidence=("inference.image_signed",),
            ),
        )
    ),
)  # fmt: skip

__all__ = ["IMAGE_OPERATIONS"]
