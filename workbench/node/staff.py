"""The staff API: HTTP around the gate. Routes and OpenAPI derive from the registry of operations.

Loopback by default. A ticket comes as "Authorization: Bearer …" from programs, or as a cookie that this node set on its
own sign-in page; identity headers of a browser or a proxy mean nothing here (decision 17).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import Body, FastAPI, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from workbench import __version__
from workbench.domain.party import Caller
from workbench.errors import (
    Denied,
    InvalidRequest,
    NotFound,
    Refused,
    SignInRequired,
    TooLarge,
    WorkbenchError,
)
from workbench.gate import action_digest
from workbench.node.pages import add_pages, address_of
from workbench.node.people import AUDIENCES
from workbench.node.public_pages import add_public_pages
from workbench.node.tasks import task_reply
from workbench.operations import Operation

if TYPE_CHECKING:
    from workbench.host import Workbench

TICKET_COOKIE = "workbench_ticket"
WITHOUT_TICKET = frozenset({("POST", "/api/v1/session"), ("POST", "/api/v1/session/exchange")})
"""The only requests below /api/ that are answered without a ticket: they are how one gets it."""
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": browsers then send "Origin: null" with the sign-in form, and it could not be told from a forged one.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class ErrorBody(BaseModel):
    """How every refusal and failure looks: a stable code and a sentence in two languages."""

    code: str
    zh: str
    en: str
    details: dict[str, str] = {}


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    person: str = Field(max_length=60)
    password: str = Field(max_length=256, repr=False)
    audience: str = Field(default="command", pattern="^(" + "|".join(AUDIENCES) + ")$")


class TicketReply(BaseModel):
    """ticket: to be sent as a bearer; never stored in clear by the node. Expires in at most 15 minutes."""

    ticket: str = Field(repr=False)
    person: str
    audience: str
    expires_ms: int
    renewable_until_ms: int


class Confirm(BaseModel):
    """A fresh password for one operation with exactly this request."""

    model_config = ConfigDict(extra="forbid")
    operation: str = Field(max_length=100)
    request: dict[str, Any]
    password: str = Field(max_length=256, repr=False)


class Confirmation(BaseModel):
    confirmation: str = Field(repr=False)
    digest: str


class Derive(BaseModel):
    model_config = ConfigDict(extra="forbid")
    audience: str = Field(pattern="^(kernel|lab|page)$")


class Uploaded(BaseModel):
    file: str


class TaskStarted(BaseModel):
    task: str


def build_staff_app(host: Workbench, *, allowed_hosts: set[str]) -> FastAPI:
    """The ASGI application of one node.

    allowed_hosts: exact values of the Host header ("127.0.0.1:8801"); anything else is refused, so that a page of
    another name that resolves here (DNS rebinding) reaches nothing.
    """
    app = FastAPI(title="Evidence Workbench", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    _add_middleware(app, host, allowed_hosts)
    _add_errors(app, host)
    _add_sessions(app, host)
    _add_files(app, host)
    for operation in host.gate.registry:
        _add_operation(app, host, operation)
    add_pages(app, host, allowed_hosts)
    add_public_pages(app, host, allowed_hosts)

    @app.get("/api/v1/openapi.json", include_in_schema=False)
    def openapi(request: Request) -> JSONResponse:
        caller_of(host, request)
        return JSONResponse(openapi_document(app))

    return app


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of all operations."""
    document: dict[str, Any] = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = document["components"]["schemas"] | {ErrorBody.__name__: ErrorBody.model_json_schema()}
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    document["components"].setdefault("securitySchemes", {})["ticket"] = {"type": "http", "scheme": "bearer"}
    document["security"] = [{"ticket": []}]
    return document


def ticket_of(request: Request) -> str:
    """The ticket a request carries, or "": bearer first, then the node's own cookie."""
    return _bearer_of(request) or request.cookies.get(TICKET_COOKIE, "")


def _bearer_of(request: Request) -> str:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def caller_of(host: Workbench, request: Request) -> Caller:
    """Who is calling; SignInRequired when there is no valid ticket.

    A cookie only counts with the ticket of the node's own page, and when the page of the request is this node's own
    (Origin), against forged requests of other sites.
    """
    known: Caller | None = getattr(request.state, "caller", None)
    if known is not None:
        return known
    bearer, secret = _bearer_of(request), ticket_of(request)
    if not secret:
        raise SignInRequired("请先登录", "Sign in first")
    if not bearer and request.method != "GET":
        _require_own_page(request)
    machines = host.machines(bearer)
    if machines is not None:
        machine = request.state.caller = machines.caller(bearer)
        name = request.url.path.removeprefix("/api/v1/operations/")
        if name == request.url.path:
            raise Denied("机器凭据只能调用为它开放的操作", "a machine's credential only calls operations", code="MACHINE_SCOPE")
        host.gate.authorise(host.gate.registry.named(name), machine)  # before its request is looked at
        return machine
    caller: Caller = host.people.caller(secret, audience="" if bearer else "page")
    return caller


def _require_own_page(request: Request) -> None:
    origin = request.headers.get("Origin")
    own = f"{request.url.scheme}://{request.headers.get('Host', '')}"
    if origin != own:
        raise Denied("请求不是从本节点的页面发出", "The request does not come from a page of this node", code="WRONG_ORIGIN")


def _add_middleware(app: FastAPI, host: Workbench, allowed_hosts: set[str]) -> None:
    limit = host.setting("node.max_request_bytes")

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.headers.get("Host", "") not in allowed_hosts:
            return await _refuse(host, request, Denied("地址不对", "Wrong host", code="WRONG_HOST"))
        length = request.headers.get("Content-Length", "")
        is_upload = request.url.path == "/api/v1/files"
        if not is_upload and request.method in {"POST", "PUT", "PATCH"}:
            if not (length.isascii() and length.isdigit()):
                return await _refuse(host, request, InvalidRequest("须说明长度", "A length is required", code="LENGTH_REQUIRED"))
            if int(length) > limit:
                return await _refuse(host, request, TooLarge(f"请求超过 {limit} 字节", f"The request exceeds {limit} bytes"))
        if request.url.path.startswith("/api/") and (request.method, request.url.path) not in WITHOUT_TICKET:
            try:  # before anything else of the request is looked at or answered (row F16)
                request.state.caller = await run_in_threadpool(caller_of, host, request)
            except Refused as refusal:
                return await _refuse(host, request, refusal)
        response = await call_next(request)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response


def _add_errors(app: FastAPI, host: Workbench) -> None:
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    @app.exception_handler(WorkbenchError)
    async def expected(request: Request, error: WorkbenchError) -> JSONResponse:
        return _error(error)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        places = "; ".join(".".join(str(part) for part in one["loc"]) + ": " + one["msg"] for one in error.errors())
        return await _refuse(host, request, InvalidRequest(f"请求的字段不对：{places}", f"The request does not fit: {places}"))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        name = request.url.path.removeprefix("/api/v1/operations/")
        if error.status_code == NotFound.http_status and name != request.url.path:
            try:  # the registry's own refusal, recorded as the gate records it
                host.gate.registry.named(name)
            except NotFound as unknown:
                return await _refuse(host, request, unknown)
        body = ErrorBody(code="HTTP", zh="没有这个地址或方法", en=str(error.detail))
        return JSONResponse(body.model_dump(), status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        host.log_fault(error)
        body = ErrorBody(code="INTERNAL", zh="程序内部错误", en="An internal fault")
        return JSONResponse(body.model_dump(), status_code=500)


async def _refuse(host: Workbench, request: Request, refusal: Refused) -> JSONResponse:
    """Answer with a refusal that never reached the gate, and record it as the gate would."""
    name = request.url.path.removeprefix("/api/v1/operations/")
    caller = getattr(request.state, "caller", None)
    await run_in_threadpool(host.gate.record_refusal, name, caller, refusal)
    return _error(refusal)


def _error(error: WorkbenchError) -> JSONResponse:
    return JSONResponse(error.as_dict(), status_code=error.http_status, headers=SECURITY_HEADERS)


# By reference and not as `model`: FastAPI would build a validator for every status of every operation, two thousand of them at
# each start of a node (0.7 s), and use none. `openapi_document` adds what the reference names.
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}}}}
    for status in (400, 401, 403, 404, 405, 409, 413, 422, 500, 502, 503, 504, 507)
}


def _add_sessions(app: FastAPI, host: Workbench) -> None:
    @app.post("/api/v1/session", responses=_ERRORS, openapi_extra={"security": []}, tags=["session"])
    def sign_in(body: SignIn, request: Request) -> TicketReply:
        """Sign in and get a ticket."""
        ticket = host.people.sign_in(
            person=body.person, password=body.password, audience=body.audience, address=address_of(request)
        )
        return _ticket_reply(ticket)

    @app.post("/api/v1/session/renew", responses=_ERRORS, tags=["session"])
    def renew(request: Request) -> TicketReply:
        """A new ticket for the same person; the old one ends."""
        caller_of(host, request)
        return _ticket_reply(host.people.renew(ticket_of(request)))

    @app.post("/api/v1/session/derive", responses=_ERRORS, tags=["session"])
    def derive(body: Derive, request: Request) -> TicketReply:
        """A ticket for another audience, e.g. a notebook's weak token."""
        return _ticket_reply(host.people.derive(caller_of(host, request), body.audience, source=ticket_of(request)))

    @app.delete("/api/v1/session", responses=_ERRORS, status_code=204, tags=["session"])
    def sign_out(request: Request) -> Response:
        """End the ticket."""
        caller_of(host, request)
        host.people.sign_out(ticket_of(request))
        return Response(status_code=204)

    @app.post("/api/v1/session/confirm", responses=_ERRORS, tags=["session"])
    def confirm(body: Confirm, request: Request) -> Confirmation:
        """A fresh password for one action (decision 18); the confirmation is spent by that action within 5 minutes."""
        caller = caller_of(host, request)
        digest = action_digest(body.operation, host.gate.admit(body.operation, body.request, caller)[2])
        secret = host.people.confirm(caller, password=body.password, action_digest=digest)
        return Confirmation(confirmation=secret, digest=digest)


def _ticket_reply(ticket: Any) -> TicketReply:
    return TicketReply(
        ticket=ticket.secret,
        person=ticket.person.person,
        audience=ticket.audience,
        expires_ms=ticket.expires_ms,
        renewable_until_ms=ticket.renewable_until_ms,
    )


def _add_files(app: FastAPI, host: Workbench) -> None:
    @app.post("/api/v1/files", responses=_ERRORS, tags=["files"])
    async def upload(request: Request, name: str = "file") -> Uploaded:
        """Upload a file as the raw body; an operation then names it by its id."""
        caller = caller_of(host, request)
        takers = [operation for operation in host.gate.registry if operation.takes_file]
        if not any(operation.roles & caller.person.roles for operation in takers):
            host.gate.admit(takers[0].name, {}, caller)  # denied, and recorded
        try:
            return Uploaded(file=await host.uploads.receive(name, _chunks(request)))
        except WorkbenchError as failure:  # too large, or no room on the disk
            await run_in_threadpool(host.gate.record_refusal, takers[0].name, caller, failure)
            raise

    @app.get("/api/v1/files/{download}", responses=_ERRORS, tags=["files"])
    def take(download: str, request: Request) -> Response:
        """Take a file made for you, once."""
        caller = caller_of(host, request)
        taken = host.downloads.hand_out(
            caller,
            download,
            also=lambda tx, name: host.evidence.append(tx, "files.taken", {"name": name}, actor=caller.person.token),
        )
        disposition = f"attachment; filename*=UTF-8''{quote(Path(taken.name).name)}"
        # The length tells a reader of a file that breaks off from one that ends.
        headers = {"Content-Disposition": disposition, "Content-Length": str(taken.size)}
        return StreamingResponse(taken.parts, media_type="application/octet-stream", headers=headers)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk


def _add_operation(app: FastAPI, host: Workbench, operation: Operation) -> None:
    """POST /api/v1/operations/NAME with the request as body; a long one answers 202 with a task."""

    def run(
        request: Request,
        body: Any,
        workbench_confirmation: Annotated[str, Header(max_length=200)] = "",
    ) -> Any:
        caller = caller_of(host, request)
        values = body.model_dump(mode="json")
        if operation.long:
            task = host.tasks.start(operation.name, values, caller, confirmation=workbench_confirmation)
            return JSONResponse({"task": task_reply(task).task}, status_code=202)
        return host.gate.call(operation.name, values, caller, confirmation=workbench_confirmation)

    run.__annotations__["body"] = Annotated[operation.request, Body()]
    run.__annotations__["request"] = Request
    app.post(
        f"/api/v1/operations/{operation.name}",
        response_model=TaskStarted if operation.long else operation.reply,
        status_code=202 if operation.long else 200,
        name=operation.name,
        operation_id=operation.name.replace(".", "_"),
        summary=f"{operation.zh} / {operation.en}",
        description=_description(operation),
        tags=[operation.name.partition(".")[0]],
        responses=_ERRORS,
    )(run)


def _description(operation: Operation) -> str:
    roles = ", ".join(sorted(operation.roles))
    notes = [f"Roles: {roles}."]
    if operation.fresh_password:
        notes.append("Needs a fresh password: send the confirmation in the header Workbench-Confirmation.")
    if operation.weak_token:
        notes.append("Open to a notebook's token.")
    if operation.reads_only:
        notes.append("Reads only.")
    if operation.own_only:
        notes.append("Changes only one's own draft or task; leaves no evidence.")
    if operation.evidence:
        notes.append(f"Evidence: {', '.join(operation.evidence)}.")
    return " ".join(notes)


__all__ = ["build_staff_app", "caller_of", "json", "openapi_document", "ticket_of"]
