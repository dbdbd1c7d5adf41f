"""The two pages a node serves itself: sign in, and confirm with a fresh password. No script runs on them.

Sign-in by the Lab server follows RFC 6749 section 4.1 with PKCE (RFC 7636): the node hands a one-time code to a
registered address on this machine, and the Lab server exchanges it, so a ticket never travels in an address.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
import threading
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from workbench.contracts import Transaction
from workbench.domain.party import ROLE_NAMES, Caller
from workbench.errors import (
    Denied,
    InvalidRequest,
    NotFound,
    Refused,
    SignInRequired,
    VerificationError,
    WorkbenchError,
)
from workbench.gate import action_digest
from workbench.node.confirming import confirmation_rows, rows_html
from workbench.node.sign_in_refusals import change_password_first

if TYPE_CHECKING:
    from workbench.host import Workbench

CODE_SECONDS = 60
ACTION_MINUTES = 15
CHANGE_PASSWORD = "people.change_password"


@dataclass(frozen=True, slots=True)
class PendingCode:
    """A sign-in that the Lab server has yet to collect."""

    person_ticket: str
    challenge: str
    redirect: str
    expires_ms: int


def add_pages(app: FastAPI, host: Workbench, allowed_hosts: set[str]) -> None:
    """Add sign-in, code exchange and confirmation to the staff application."""
    codes: dict[str, PendingCode] = {}
    lock = threading.Lock()

    @app.get("/signin", include_in_schema=False)
    def sign_in_page(request: Request) -> Response:
        _check_redirect(host, request.query_params.get("redirect_uri", ""))
        return _sign_in_page(host, request, dict(request.query_params))

    # What waits for passwords, disk or work runs in threads: the event loop also carries the frames of partners.

    @app.post("/signin", include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        return await run_in_threadpool(_signed_in, request, await _form(request))

    def _signed_in(request: Request, form: dict[str, str]) -> Response:
        redirect = form.get("redirect_uri", "")
        _check_redirect(host, redirect)
        _check_same_page(request, allowed_hosts)
        try:
            ticket = host.people.sign_in(
                person=form.get("person", ""),
                password=form.get("password", ""),
                audience="lab" if redirect else "page",
                address=address_of(request),
            )
        except (SignInRequired, VerificationError) as refusal:  # a node whose log is closed takes nobody's sign-in, and says why
            return _sign_in_page(host, request, form, refusal)
        if host.people.caller(ticket.secret).first_password:
            host.people.sign_out(ticket.secret)
            return _page(host, request, _password_form(form.get("person", ""), change_password_first()))
        if not redirect:
            response: Response = RedirectResponse("/confirmations", status_code=303)
            _set_cookie(response, ticket.secret)
            return response
        code = secrets.token_urlsafe(32)
        pending = PendingCode(
            ticket.secret, form.get("code_challenge", ""), redirect, host.now_ms() + CODE_SECONDS * 1000
        )
        with lock:
            codes[code] = pending
        query = urlencode({"code": code, "state": form.get("state", "")})
        return RedirectResponse(f"{redirect}?{query}", status_code=303)

    @app.post("/api/v1/session/exchange", include_in_schema=False)
    async def exchange(request: Request) -> Response:
        """Lab server: code and verifier against the ticket, once."""
        body = _object(await request.body())
        return await run_in_threadpool(_exchanged, body)

    def _exchanged(body: dict[str, Any]) -> Response:
        with lock:
            pending = codes.pop(str(body.get("code", "")), None)
        verifier = str(body.get("code_verifier", ""))
        if pending is None or pending.expires_ms < host.now_ms() or not _proves(verifier, pending.challenge):
            raise SignInRequired("登录码无效或已过期，请重新登录", "The sign-in code is invalid or expired; sign in again")
        renewed = host.people.renew(pending.person_ticket)
        times = {"expires_ms": renewed.expires_ms, "renewable_until_ms": renewed.renewable_until_ms}
        return JSONResponse({"ticket": renewed.secret, **times})

    @app.post("/api/v1/actions", include_in_schema=False)
    async def prepare(request: Request) -> Response:
        """A page asks for an action that needs a fresh password: answers where the person confirms it."""
        body = _object(await request.body())
        return await run_in_threadpool(_prepared, request, body)

    def _prepared(request: Request, body: dict[str, Any]) -> Response:
        from workbench.node.staff import caller_of

        caller, values = caller_of(host, request), body.get("request") or {}
        if not isinstance(values, dict):
            raise InvalidRequest("请求不是 JSON 对象", "The request is not a JSON object")
        action = prepare_action(host, caller, str(body.get("operation", "")), values)
        return JSONResponse({"action": action, "url": f"/confirm/{action}"})

    @app.get("/api/v1/actions/{action}", include_in_schema=False)
    def action_state(action: str, request: Request) -> Response:
        from workbench.node.staff import caller_of

        row = _action(host, caller_of(host, request), action)
        reply = _kept_reply(host, action)
        state = "waiting" if row["state"] == "running" else row["state"]
        return JSONResponse({"state": state, "reply": reply})

    @app.get("/confirm/{action}", include_in_schema=False)
    def confirm_page(action: str, request: Request) -> Response:
        row = _action_row(host, action)
        return _page(host, request, _confirm_form(host, row))

    @app.post("/confirm/{action}", include_in_schema=False)
    async def confirm(action: str, request: Request) -> Response:
        _check_same_page(request, allowed_hosts)
        return await run_in_threadpool(_decided, action, request, await _form(request))

    def _decided(action: str, request: Request, form: dict[str, str]) -> Response:
        row = _action_row(host, action)
        if form.get("decision") == "no":
            _claimed_request(host, action)
            _finish(host, action, "declined", None)
            return _page(host, request, _done("已取消，没有执行", "Declined; nothing was done"))
        password = form.get("password", "")
        try:
            ticket = host.people.sign_in_to_confirm(person=row["person"], password=password, address=address_of(request))
        except (SignInRequired, VerificationError) as refusal:
            return _page(host, request, _confirm_form(host, row, refusal), status=refusal.http_status)
        try:
            caller = host.people.caller(ticket.secret)
            secret = host.people.confirm(caller, password=password, action_digest=row["digest"])
            kept = _claimed_request(host, action)
            return _run(action, row["operation"], kept, caller, secret, request)
        finally:
            host.people.sign_out(ticket.secret)

    def _run(
        action: str, operation: str, kept: dict[str, Any], caller: Caller, secret: str, request: Request
    ) -> Response:
        try:
            reply = host.gate.call(operation, kept, caller, confirmation=secret)
        except WorkbenchError as error:
            _finish(host, action, "refused", error.as_dict())
            return _page(host, request, _done(error.zh, error.en, error.code), status=error.http_status)
        except BaseException:
            _finish(host, action, "refused", {"code": "INTERNAL", "zh": "程序内部错误", "en": "An internal fault"})
            raise
        _finish(host, action, "done", reply.model_dump(mode="json"))
        return _page(host, request, _done("已执行并记录。可以关闭本页", "Done and recorded. You may close this page"))

    @app.get("/password", include_in_schema=False)
    def password_page(request: Request) -> Response:
        return _page(host, request, _password_form(request.query_params.get("person", "")))

    @app.post("/password", include_in_schema=False)
    async def password(request: Request) -> Response:
        _check_same_page(request, allowed_hosts)
        return await run_in_threadpool(_password_changed, request, await _form(request))

    def _password_changed(request: Request, form: dict[str, str]) -> Response:
        """One's own password, through the gate like every action: the old one is the confirmation."""
        person, new = form.get("person", ""), form.get("new", "")
        try:
            if new != form.get("again", ""):
                raise InvalidRequest("两次输入的新密码不同", "The two new passwords differ", code="PASSWORDS_DIFFER")
            change_own_password(host, person, form.get("password", ""), new, address=address_of(request))
        except Refused as refusal:
            return _page(host, request, _password_form(person, refusal), status=refusal.http_status)
        return _page(host, request, _done("密码已更换。请用新密码登录", "The password was changed. Sign in with it"))

    @app.get("/confirmations", include_in_schema=False)
    def signed_in(request: Request) -> Response:
        return _page(host, request, _done("已登录。请回到 JupyterLab", "Signed in. Return to JupyterLab"))

    @app.get("/style.css", include_in_schema=False)
    def style() -> Response:
        text = files("workbench.node").joinpath("page.css").read_text("utf-8")
        return Response(text, media_type="text/css")


def change_own_password(host: Workbench, person: str, old: str, new: str, *, address: str = "") -> None:
    """Replace the password of an account with its old one as the confirmation; refusals of sign-in and gate pass."""
    ticket = host.people.sign_in_to_confirm(person=person, password=old, address=address)
    try:
        caller, values = host.people.caller(ticket.secret), {"password": new}
        digest = action_digest(CHANGE_PASSWORD, host.gate.admit(CHANGE_PASSWORD, values, caller)[2])
        secret = host.people.confirm(caller, password=old, action_digest=digest)
        host.gate.call(CHANGE_PASSWORD, values, caller, confirmation=secret)
    finally:
        host.people.sign_out(ticket.secret)


def prepare_action(host: Workbench, caller: Caller, operation_name: str, raw: dict[str, Any]) -> str:
    """Keep a request until its person confirms it on the node's page; returns the id of the action."""
    _, _, request = host.gate.admit(operation_name, raw, caller, kernel=False)
    action = secrets.token_urlsafe(18)
    now = host.now_ms()

    def change(tx: Transaction) -> None:
        _sweep_actions(host, tx, now)
        # The request may name a customer or hold a new password: it waits sealed, and is shredded when it is decided.
        text = json.dumps(request.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)
        host.vault.put(tx, f"action/{action}", text.encode())
        tx.execute(
            "INSERT INTO host_action(action, person, operation, digest, state, created_ms, expires_ms)"
            " VALUES (?, ?, ?, ?, 'waiting', ?, ?)",
            (
                action,
                caller.person.person,
                operation_name,
                action_digest(operation_name, request),
                now,
                now + ACTION_MINUTES * 60_000,
            ),
        )

    host.store.write(change)
    return action


def _sweep_actions(host: Workbench, tx: Transaction, now_ms: int) -> None:
    for row in tx.execute("SELECT action FROM host_action WHERE expires_ms < ?", (now_ms,)).fetchall():
        host.vault.shred(tx, f"action/{row['action']}")
        host.vault.shred(tx, f"action-reply/{row['action']}")
        tx.execute("DELETE FROM host_action WHERE action = ?", (row["action"],))


def _kept_request(host: Workbench, action: str) -> dict[str, Any]:
    with host.store.read() as reader:
        request: dict[str, Any] = json.loads(host.vault.get(reader, f"action/{action}"))
    return request


def _claimed_request(host: Workbench, action: str) -> dict[str, Any]:
    """The request, for the one who may now run it: a button pressed twice runs it once. NotFound for everybody else."""
    kept = _kept_request(host, action)

    def change(tx: Transaction) -> int:
        changed = "UPDATE host_action SET state = 'running' WHERE action = ? AND state = 'waiting'"
        return int(tx.execute(changed, (action,)).rowcount)

    if not host.store.write(change):
        raise _no_action()
    return kept


def _shown_request(host: Workbench, row: Any) -> dict[str, Any]:
    """The request as its person sees it again; a field that is not for showing (a new password) stays hidden."""
    fields = host.gate.registry.named(row["operation"]).request.model_fields
    kept = _kept_request(host, row["action"])
    return {name: kept[name] if one.repr or not kept[name] else "••••" for name, one in fields.items() if name in kept}


def _action_row(host: Workbench, action: str) -> Any:
    with host.store.read() as reader:
        row = reader.execute("SELECT * FROM host_action WHERE action = ?", (action,)).fetchone()
    if row is None or row["expires_ms"] < host.now_ms() or row["state"] != "waiting":
        raise _no_action()
    return row


def _no_action() -> NotFound:
    return NotFound("没有待确认的操作，或已过期", "There is no such action waiting, or it has expired")


def _action(host: Workbench, caller: Caller, action: str) -> Any:
    with host.store.read() as reader:
        row = reader.execute(
            "SELECT * FROM host_action WHERE action = ? AND person = ?", (action, caller.person.person)
        ).fetchone()
    if row is None:
        raise NotFound("没有这个操作", "There is no such action")
    return row


def _finish(host: Workbench, action: str, state: str, reply: Any) -> None:
    """Keep the answer for the page that asked: sealed, because a reply may name customers, until the action expires."""

    def change(tx: Transaction) -> None:
        _sweep_actions(host, tx, host.now_ms())
        known = tx.execute("UPDATE host_action SET state = ? WHERE action = ?", (state, action)).rowcount
        host.vault.shred(tx, f"action/{action}")
        if reply is not None and known:
            host.vault.put(tx, f"action-reply/{action}", json.dumps(reply, ensure_ascii=False).encode())

    host.store.write(change)


def _kept_reply(host: Workbench, action: str) -> Any:
    name = f"action-reply/{action}"
    with host.store.read() as reader:
        return json.loads(host.vault.get(reader, name)) if host.vault.names(reader, name) else None


def address_of(request: Request) -> str:
    """Where the connection comes from, as the socket says; headers of a proxy mean nothing here."""
    return request.client.host if request.client else ""


def _proves(verifier: str, challenge: str) -> bool:
    digest = hashlib.sha256(verifier.encode()).digest()
    return bool(challenge) and hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)


def _check_redirect(host: Workbench, redirect: str) -> None:
    """Only addresses of a Lab on this machine, as the workspace registered them."""
    if redirect and redirect not in host.lab_redirects():
        raise InvalidRequest("登录后的去向没有登记", "The address to return to is not registered", code="WRONG_REDIRECT")


def _check_same_page(request: Request, allowed_hosts: set[str]) -> None:
    origin = urlsplit(request.headers.get("Origin", ""))
    if origin.netloc not in allowed_hosts:
        raise Denied("请求不是从本节点的页面发出", "The request does not come from a page of this node", code="WRONG_ORIGIN")


def _object(text: bytes) -> dict[str, Any]:
    """The JSON object of a body, {} for an empty one. Raises InvalidRequest."""
    try:
        value = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest("请求不是 JSON 对象", "The request is not a JSON object")
    return value


async def _form(request: Request) -> dict[str, str]:
    text = (await request.body()).decode("utf-8", "replace")
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}


def _set_cookie(response: Response, secret: str) -> None:
    response.set_cookie("workbench_ticket", secret, httponly=True, samesite="strict", path="/", max_age=15 * 60)


def _page(host: Workbench, request: Request, body: str, *, status: int = 200) -> HTMLResponse:
    zh, en = host.names(host.party)
    demo = '<span class="badge">合成数据 · 演示同处一机 / synthetic data, one trust domain</span>' if host.kind != "production" else ""
    text = (
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{html.escape(zh)} · 证据工作台</title><link rel="stylesheet" href="/style.css"></head><body><main>'
        f'<header><b class="tile">{html.escape(zh[:1])}</b><div><h1>{html.escape(zh)}</h1>'
        f'<p lang="en">{html.escape(en)}</p></div>{demo}</header>{body}</main></body></html>'
    )
    return HTMLResponse(text, status_code=status)


def _sign_in_page(
    host: Workbench, request: Request, values: dict[str, str], refusal: WorkbenchError | None = None
) -> HTMLResponse:
    """The form. Browsers hold a form's redirect against `form-action`, so the one registered Lab is named there."""
    page = _page(host, request, _sign_in_form(host, values, refusal), status=refusal.http_status if refusal else 200)
    redirect = urlsplit(values.get("redirect_uri", ""))
    if redirect.netloc:
        page.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none';"
            f" form-action 'self' {redirect.scheme}://{redirect.netloc}"
        )
    return page


def _notice(error: WorkbenchError | None) -> str:
    if error is None:
        return ""
    return (
        f'<div class="notice" role="alert"><p>{html.escape(error.zh)}</p><p lang="en">{html.escape(error.en)}</p>'
        f"<small>{html.escape(error.code)}</small></div>"
    )


def _sign_in_form(host: Workbench, values: dict[str, str], error: WorkbenchError | None = None) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(values.get(name, ""), quote=True)}">'
        for name in ("redirect_uri", "state", "code_challenge")
    )
    return (
        f'<form method="post" action="/signin"><h2>登录 <span lang="en">Sign in</span></h2>{_notice(error)}{hidden}'
        '<label for="person">账号 <span lang="en">Account</span></label>'
        '<input id="person" name="person" autocomplete="username" required autofocus>'
        '<label for="password">密码 <span lang="en">Password</span></label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required>'
        "<button>登录 / Sign in</button>"
        "<p>密码只交给本机构的节点，不经过 JupyterLab。"
        '<span lang="en">The password goes to this institution\'s node only, not through JupyterLab.</span></p></form>'
    )


def _confirm_form(host: Workbench, row: Any, error: WorkbenchError | None = None) -> str:
    """What will happen, in words; who confirms; the digest of exactly this request at the bottom."""
    operation = host.gate.registry.named(row["operation"])
    rows = confirmation_rows(host, _shown_request(host, row))
    return (
        f'<form method="post"><h2>确认：{html.escape(operation.zh)} <span lang="en">{html.escape(operation.en)}</span></h2>'
        f"{_notice(error)}{rows_html(rows)}"
        f'<p class="who">由 <b>{html.escape(row["person"])}</b> 确认并执行，留下证据'
        f' <span lang="en">confirmed and done by {html.escape(row["person"])}; it leaves evidence</span></p>'
        '<label for="password">重新输入密码 <span lang="en">Enter your password again</span></label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" autofocus>'
        '<div class="row"><button name="decision" value="yes">确认并执行 / Confirm</button>'
        '<button name="decision" value="no" class="plain" formnovalidate>取消 / Decline</button></div>'
        '<p class="digest">本操作的摘要，证据与确认都绑定它 <span lang="en">Digest of exactly this request</span>'
        f"<br><code>SM3 {html.escape(row['digest'])}</code></p></form>"
    )


def _password_form(person: str, error: WorkbenchError | None = None) -> str:
    name = html.escape(person, quote=True)
    return (
        f'<form method="post" action="/password"><h2>更换密码 <span lang="en">Change the password</span></h2>{_notice(error)}'
        '<label for="person">账号 <span lang="en">Account</span></label>'
        f'<input id="person" name="person" value="{name}" autocomplete="username" required>'
        '<label for="password">现在的密码 <span lang="en">Present password</span></label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required>'
        '<label for="new">新密码，至少 12 个字符 <span lang="en">New password, 12 characters or more</span></label>'
        '<input id="new" name="new" type="password" autocomplete="new-password" required>'
        '<label for="again">再输一次 <span lang="en">Once more</span></label>'
        '<input id="again" name="again" type="password" autocomplete="new-password" required>'
        "<button>更换 / Change</button></form>"
    )


def _done(zh: str, en: str, code: str = "") -> str:
    mark = f"<small>{html.escape(code)}</small>" if code else ""
    return f'<section role="status"><h2>{html.escape(zh)}</h2><p lang="en">{html.escape(en)}</p>{mark}</section>'


__all__ = ["ROLE_NAMES", "add_pages", "change_own_password", "prepare_action"]
