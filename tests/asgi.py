"""Requests to an ASGI application in this process, one after the other on one event loop.

For tests that ask thousands of times: starlette's TestClient hands each request to a thread of its own in ten steps, which costs
more than the answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx


class Asking:
    """An HTTP client of `app` under the address `http://HOST`. An exception of the application passes."""

    def __init__(self, app: Any, host: str) -> None:
        self.app = app
        self._runner = asyncio.Runner()
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://{host}", follow_redirects=True)

    def request(self, method: str, path: str, **further: Any) -> httpx.Response:
        """One request and its whole answer; `further` as httpx takes it."""
        return self._runner.run(self._client.request(method, path, **further))

    def get(self, path: str, **further: Any) -> httpx.Response:
        return self.request("GET", path, **further)

    def post(self, path: str, **further: Any) -> httpx.Response:
        return self.request("POST", path, **further)

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()
