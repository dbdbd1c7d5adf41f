"""What a command needs of a client, answered by the gate of a node in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.operations import Registry


class GateClient:
    """call: a request as the person whose command it is; upload, download: where the command moves files."""

    url = "https://127.0.0.1:8801"

    def __init__(
        self, registry: Registry, call: Callable[..., Any], *, upload: Callable[[Path], str] | None = None, download: Callable[[str], bytes] | None = None
    ) -> None:
        self._registry, self._call, self._upload, self._download = registry, call, upload, download

    def __enter__(self) -> GateClient:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def confirmation(self, operation: str, request: dict[str, Any], *, password: str) -> str:
        return password

    def call(self, operation: str, *, progress: object = None, confirmation: str = "", **request: Any) -> dict[str, Any]:
        needs = self._registry.named(operation).fresh_password
        assert bool(confirmation) is needs, f"{operation}: a fresh password is {'needed' if needs else 'not needed'}"
        made = self._call(operation, **request)
        return json.loads(made.model_dump_json())  # type: ignore[no-any-return]  # an object

    def confirmed(self, operation: str, *, password: str, **request: Any) -> dict[str, Any]:
        return self.call(operation, confirmation=self.confirmation(operation, request, password=password), **request)

    def upload(self, path: Path, *, progress: object = None) -> str:
        assert self._upload is not None
        return self._upload(path)

    def download(self, download: str) -> bytes:
        assert self._download is not None
        return self._download(download)
