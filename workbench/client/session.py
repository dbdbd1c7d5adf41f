"""One person's session with one node: operations as methods, long ones with progress, files up and down.

`client.intersection.propose(partner="bank", …)` calls the operation "intersection.propose"; names and parameters are
those of the OpenAPI document, nothing is written twice. Tickets stay in memory and are renewed before they expire.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from workbench.errors import (
    Denied,
    InvalidRequest,
    NotFound,
    PeerError,
    PeerUnavailable,
    Refused,
    SignInRequired,
    StorageFailed,
    TooLarge,
    WorkbenchError,
)

RENEW_BEFORE_MS = 5 * 60_000
CHUNK_BYTES = 1 << 20
POLL_S = 0.2

_BY_STATUS: dict[int, type[WorkbenchError]] = {
    401: SignInRequired,
    403: Denied,
    404: NotFound,
    409: Refused,
    413: TooLarge,
    422: InvalidRequest,
    502: PeerError,
    504: PeerUnavailable,
    507: StorageFailed,
}

Progress = Callable[[int, int, str, str], None]


class Record(dict[str, Any]):
    """A reply: a dict whose members are attributes too; nested objects likewise."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Namespace:
    """Operations of one area, e.g. `client.intersection`."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        operation = f"{self._prefix}.{name}"

        def call(**request: Any) -> Any:
            return self._client.call(operation, **request)

        call.__name__ = name
        return call


class Client:
    """url: the node's staff API. ticket: from `sign_in`; its text is never shown or stored.

    expires_ms: when the ticket ends; the node renews it in time. 0: somebody else does (workbench.client.handed).
    """

    def __init__(
        self,
        url: str,
        ticket: str,
        *,
        expires_ms: int = 0,
        timeout_s: float = 60.0,
    ) -> None:
        self.url = url.rstrip("/")
        self._ticket = ticket
        self._expires_ms = expires_ms
        self._lock = threading.Lock()
        # trust_env: a proxy of the environment must never see a request to the node.
        self._http = httpx.Client(base_url=self.url, timeout=timeout_s, trust_env=False)

    def __repr__(self) -> str:
        return f"Client({self.url})"

    def __getattr__(self, name: str) -> Namespace:
        if name.startswith("_"):
            raise AttributeError(name)
        return Namespace(self, name)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self,
        operation: str,
        /,
        *,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        confirmation: str = "",
        **request: Any,
    ) -> Any:
        """Run one operation and return its reply; the node's refusals are raised as what they are.

        progress(done, total, zh, en) is called while a long operation runs; cancelled() True stops it.
        """
        headers = {"Workbench-Confirmation": confirmation} if confirmation else {}
        reply = self._send("POST", f"/api/v1/operations/{operation}", json=request, headers=headers)
        if reply.status_code == 202:
            return self._wait(reply.json()["task"], progress, cancelled)
        return _record(reply.json())

    def confirmed(self, operation: str, /, *, password: str, **request: Any) -> Any:
        """Run an operation that needs a fresh password. Not open to notebooks' tokens.

        For a request with a field `password` of its own, such as people.change_password: `confirmation` and then `call`.
        """
        return self.call(operation, confirmation=self.confirmation(operation, request, password=password), **request)

    def confirmation(self, operation: str, request: Mapping[str, Any], *, password: str) -> str:
        """A fresh password for exactly this request; the answer is spent by one `call` within five minutes."""
        body = {"operation": operation, "request": dict(request), "password": password}
        secret: str = self._send("POST", "/api/v1/session/confirm", json=body).json()["confirmation"]
        return secret

    def prepare_action(self, operation: str, /, **request: Any) -> Record:
        """Ask for an action that its person confirms on the node's own page; returns action and url."""
        reply = self._send("POST", "/api/v1/actions", json={"operation": operation, "request": request})
        record = _record(reply.json())
        record["url"] = self.url + record["url"]
        return Record(record)

    def action_state(self, action: str) -> Record:
        """state ("waiting", "done", "declined", "refused") and reply of a prepared action."""
        return Record(_record(self._send("GET", f"/api/v1/actions/{action}").json()))

    def upload(self, path: Path, *, progress: Progress | None = None) -> str:
        """Send a file in pieces; returns its id."""
        size = path.stat().st_size

        def pieces() -> Iterator[bytes]:
            done = 0
            with path.open("rb") as source:
                while piece := source.read(CHUNK_BYTES):
                    done += len(piece)
                    if progress:
                        progress(done, size, "上传", "uploading")
                    yield piece

        return str(self._send("POST", "/api/v1/files", params={"name": path.name}, content=pieces()).json()["file"])

    def upload_bytes(self, name: str, data: bytes) -> str:
        """Send bytes as a file; returns its id."""
        return str(self._send("POST", "/api/v1/files", params={"name": name}, content=data).json()["file"])

    def download(self, download: str) -> bytes:
        """Take a file made for this person, once."""
        return self._send("GET", f"/api/v1/files/{download}").content

    def download_to(self, download: str, out: BinaryIO) -> int:
        """Write a file made for this person, once, in pieces; returns its bytes. PeerUnavailable when it breaks off."""
        self._refresh()
        headers, size = {"Authorization": f"Bearer {self._ticket}"}, 0
        try:
            with self._http.stream("GET", f"/api/v1/files/{download}", headers=headers) as reply:
                if not reply.is_success:
                    reply.read()
                    raise _as_error(reply.status_code, _error_body(reply))
                for piece in reply.iter_bytes():
                    size += out.write(piece)
        except httpx.HTTPError as error:
            raise _unanswered() from error
        return size

    def openapi(self) -> dict[str, Any]:
        """The node's OpenAPI document."""
        document: dict[str, Any] = self._send("GET", "/api/v1/openapi.json").json()
        return document

    def derive(self, audience: str) -> Record:
        """A ticket for another audience, e.g. "kernel"."""
        return Record(self._send("POST", "/api/v1/session/derive", json={"audience": audience}).json())

    def ticket(self) -> str:
        """The current ticket, renewed when it would soon expire; for handing on through a 0600 file only."""
        self._refresh()
        return self._ticket

    def close(self) -> None:
        """Close connections; the ticket simply expires."""
        self._http.close()

    def sign_out(self) -> None:
        """End the ticket at the node and close."""
        self._send("DELETE", "/api/v1/session")
        self.close()

    def _wait(self, task: str, progress: Progress | None, cancelled: Callable[[], bool] | None) -> Any:
        asked_to_stop = False
        while True:
            state = self.call("tasks.get", task=task)
            if state["state"] == "done":
                return state["reply"]
            if state["error"]:
                raise _as_error(int(state["error"]["status"]), state["error"])
            if progress:
                progress(state["done"], state["total"], state["zh"], state["en"])
            if cancelled and cancelled() and not asked_to_stop:
                asked_to_stop = True
                self.call("tasks.cancel", task=task)
            time.sleep(POLL_S)

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        self._refresh()
        headers = {**options.pop("headers", {}), "Authorization": f"Bearer {self._ticket}"}
        try:
            reply = self._http.request(method, path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise _unanswered() from error
        if reply.is_success:
            return reply
        raise _as_error(reply.status_code, _error_body(reply))

    def _refresh(self) -> None:
        with self._lock:
            if not self._expires_ms or self._expires_ms - time.time() * 1000 > RENEW_BEFORE_MS:
                return
            reply = self._http.post("/api/v1/session/renew", headers={"Authorization": f"Bearer {self._ticket}"})
            if not reply.is_success:
                raise _as_error(reply.status_code, _error_body(reply))
            self._ticket, self._expires_ms = reply.json()["ticket"], reply.json()["expires_ms"]


def _unanswered() -> PeerUnavailable:
    return PeerUnavailable(
        "本机构的节点没有回应。运维检查节点是否运行",
        "The node of this institution does not answer. Operations check whether it runs",
        code="NODE_UNAVAILABLE",
    )


def sign_in(url: str, person: str, password: str, *, audience: str = "command") -> Client:
    """Sign in with account and password; SignInRequired when they are wrong."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as http:
        try:
            body = {"person": person, "password": password, "audience": audience}
            reply = http.post("/api/v1/session", json=body)
        except httpx.HTTPError as error:
            raise PeerUnavailable(
                "节点没有回应，请先启动", "The node does not answer; start it first", code="NODE_UNAVAILABLE"
            ) from error
    if not reply.is_success:
        raise _as_error(reply.status_code, _error_body(reply))
    return Client(url, reply.json()["ticket"], expires_ms=reply.json()["expires_ms"])


def _error_body(reply: httpx.Response) -> Mapping[str, Any]:
    try:
        body = reply.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and "code" in body:
        return body
    return {"code": "HTTP", "zh": f"节点回应 {reply.status_code}", "en": f"the node answered {reply.status_code}"}


def _as_error(status: int, body: Mapping[str, Any]) -> WorkbenchError:
    kind = _BY_STATUS.get(status, WorkbenchError)
    return kind(str(body.get("zh", "")), str(body.get("en", "")), code=str(body["code"]), details=body.get("details"))


def _record(value: Any) -> Any:
    if isinstance(value, dict):
        return Record({name: _record(one) for name, one in value.items()})
    if isinstance(value, list):
        return [_record(one) for one in value]
    return value
