"""Scaler `ray-serve`: replicas of a deployment by Serve's declarative configuration. Document: docs/sandbox-design.md section 4.

The running configuration is read from the dashboard, `num_replicas` of one deployment is changed, and all of it is deployed anew:
so Serve keeps the replicas that run and starts or ends only the difference. Replacing the deployment by code would end every replica
and with it every lease.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

from workbench.contracts import Host
from workbench.errors import PeerError, PeerUnavailable, Refused

NAME: Final = "ray-serve"
PATH: Final = "/api/serve/applications/"
TIMEOUT_S: Final = 10.0
Exchange = Callable[[str, str, bytes], bytes]
"""(method, address, body) -> reply body. Raises PeerUnavailable, PeerError."""


class RayServe:
    """address: of the dashboard, such as http://127.0.0.1:8265; application, deployment: whose replicas are set.

    token: file (0600) of the token that Ray asks for since it authenticates, "" where it does not.
    """

    name = NAME

    def __init__(self, address: str, application: str, deployment: str, *, token: str = "", exchange: Exchange | None = None) -> None:
        if urlparse(address).scheme not in ("http", "https") or not urlparse(address).netloc:
            raise Refused("Ray 的地址写法不对，应为 http(s)://主机:端口", "The address of Ray is malformed: http(s)://host:port", code="RAY_ADDRESS")
        self._address = address.rstrip("/") + PATH
        self._application, self._deployment = application, deployment
        self._exchange = exchange or over_http(token)

    def replicas(self) -> int:
        """How many are asked for. Raises PeerError RAY_SERVE for an answer that is none of Serve's."""
        return _whole(self._named(_applications(self._status()), "deployed_app_config"), self._deployment)

    def ready(self) -> int:
        """How many answer."""
        found = self._of(_applications(self._status()))
        deployments = found.get("deployments")
        if not isinstance(deployments, dict):
            raise _malformed("deployments")
        one = deployments.get(self._deployment, {"replicas": []})  # none yet while Serve builds the application
        if not isinstance(one, dict) or not isinstance(one.get("replicas"), list):
            raise _malformed("replicas")
        return sum(1 for replica in one["replicas"] if isinstance(replica, dict) and replica.get("state") == "RUNNING")

    def set_replicas(self, count: int) -> None:
        """Deploy the same configuration with another number; returns when Serve has taken it."""
        if count < 0:
            raise ValueError("not fewer than none")
        status = self._status()
        configs = []
        for name, one in sorted(_applications(status).items()):
            config = one.get("deployed_app_config")
            if not isinstance(config, dict):
                continue  # deployed by code: Serve keeps what the configuration does not name only when all of it is named
            configs.append(with_replicas(config, self._deployment, count) if name == self._application else config)
        self._named(_applications(status), "deployed_app_config")
        body: dict[str, Any] = {"applications": configs}
        for key in ("proxy_location", "http_options", "grpc_options"):
            if status.get(key):
                body[key] = status[key]
        self._exchange("PUT", self._address, json.dumps(body, sort_keys=True).encode())

    def _status(self) -> dict[str, Any]:
        try:
            found = json.loads(self._exchange("GET", self._address, b""))
        except ValueError as error:
            raise _malformed("JSON") from error
        if not isinstance(found, dict):
            raise _malformed("object")
        return found

    def _of(self, applications: Mapping[str, Any]) -> dict[str, Any]:
        found = applications.get(self._application)
        if not isinstance(found, dict):
            raise Refused(f"Ray Serve 上没有应用「{self._application}」", f"Ray Serve has no application {self._application}", code="RAY_SERVE")
        return found

    def _named(self, applications: Mapping[str, Any], member: str) -> dict[str, Any]:
        found = self._of(applications).get(member)
        if not isinstance(found, dict):
            raise Refused(
                "这个应用不是用声明式配置部署的，改副本数会替换全部副本，不予执行", "This application was not deployed by configuration: setting its replicas would replace all of them", code="RAY_SERVE"
            )
        return found


def with_replicas(config: Mapping[str, Any], deployment: str, count: int) -> dict[str, Any]:
    """The same application with another number of replicas of one deployment. Raises Refused RAY_SERVE where Serve scales it itself."""
    made = deepcopy(dict(config))
    for one in made.get("deployments") or []:
        if isinstance(one, dict) and one.get("name") == deployment:
            if one.get("autoscaling_config") or one.get("num_replicas") == "auto":
                raise Refused("这个部署由 Ray 自己扩缩，不与之争", "Ray scales this deployment itself; two rules would fight", code="RAY_SERVE")
            one["num_replicas"] = count
            return made
    raise Refused(f"应用里没有部署「{deployment}」", f"The application has no deployment {deployment}", code="RAY_SERVE")


def of_setting(host: Host) -> list[RayServe]:
    """The scaler that setting `inference.ray` describes; none without."""
    named = dict(host.setting("inference.ray"))
    if not named:
        return []
    return [RayServe(str(named.get("address", "")), str(named.get("application", "")), str(named.get("deployment", "")), token=str(named.get("token", "")))]


def _applications(status: Mapping[str, Any]) -> dict[str, Any]:
    found = status.get("applications")
    if not isinstance(found, dict):
        raise _malformed("applications")
    return found


def _whole(config: Mapping[str, Any], deployment: str) -> int:
    for one in config.get("deployments") or []:
        if isinstance(one, dict) and one.get("name") == deployment and type(one.get("num_replicas")) is int:
            return int(one["num_replicas"])
    raise _malformed("num_replicas")


def _malformed(what: str) -> PeerError:
    return PeerError(f"Ray 的答复里没有可用的 {what}", f"The answer of Ray has no usable {what}", code="RAY_SERVE")


def over_http(token: str = "") -> Exchange:
    """Over HTTP, with the token of a file where there is one; the file is read for every request and is nobody else's to read."""

    def exchange(method: str, address: str, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {_secret(Path(token))}"
        request = Request(address, data=body or None, method=method, headers=headers)  # noqa: S310 - scheme was checked
        try:
            with urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310 - as above
                return bytes(reply.read(16 << 20))
        except HTTPError as error:
            raise PeerError(f"Ray 拒绝了请求（{error.code}）", f"Ray refused the request ({error.code})", code="RAY_SERVE") from error
        except (URLError, OSError) as error:
            raise PeerUnavailable("连不上 Ray 的管理地址", "The dashboard of Ray cannot be reached", code="RAY_UNREACHABLE") from error

    return exchange


def _secret(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise Refused("Ray 的令牌文件对他人可读", "The file with the token of Ray is readable by others", code="FOLDER_OPEN")
        return path.read_text("ascii").strip()
    except OSError as error:
        raise Refused("读不到 Ray 的令牌文件", "The file with the token of Ray cannot be read", code="RAY_SERVE") from error


__all__ = ["NAME", "PATH", "Exchange", "RayServe", "of_setting", "over_http", "with_replicas"]
