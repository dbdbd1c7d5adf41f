"""The only way out: one POST to a configured address, with limits. Document: docs/protocols/anchor.md section 2.1.

No redirect, no proxy and no password of the environment, no compressed reply, one connection that ends with the answer.
"""

from __future__ import annotations

import ssl
import time
from functools import cache
from urllib.parse import urlsplit

from workbench.errors import StartRefused


class Unanswered(Exception):
    """No usable answer; its text says why, without the address. Callers turn it into an error with a code of their own."""


def check_address(url: str, *, setting: str) -> str:
    """The address itself if it is http or https with a host and without password. Raises StartRefused otherwise."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
        raise StartRefused(
            f"设置「{setting}」不是可用的地址（须为 http 或 https，不含账号）",
            f"Setting {setting} is no usable address (http or https, without account)",
            code="WRONG_SETTING",
        )
    return url


def post(url: str, body: bytes, *, sends: str, expects: str, timeout_s: float, max_bytes: int) -> bytes:
    """The body of the answer. sends, expects: media types. Raises Unanswered for anything else."""
    import httpx  # only where something is anchored: it loads slowly

    ends = time.monotonic() + timeout_s
    limits = httpx.Timeout(timeout_s)
    headers = {
        "Content-Type": sends,
        "Accept": expects,
        "Accept-Encoding": "identity",
        "User-Agent": "evidence-workbench",
    }
    try:
        with (
            httpx.Client(
                trust_env=False, follow_redirects=False, timeout=limits, headers=headers, verify=_authorities()
            ) as client,
            client.stream("POST", url, content=body) as answer,
        ):
            if answer.status_code != 200:
                raise Unanswered(f"HTTP {answer.status_code}")
            if answer.headers.get("content-type", "").partition(";")[0].strip().lower() != expects:
                raise Unanswered("another media type")
            received = bytearray()
            for chunk in answer.iter_raw():
                received += chunk
                if len(received) > max_bytes:
                    raise Unanswered(f"more than {max_bytes} bytes")
                if time.monotonic() > ends:  # a slow drip keeps each single wait short
                    raise Unanswered(f"not complete after {timeout_s:g} s")
            return bytes(received)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        raise Unanswered(type(error).__name__) from error


@cache
def _authorities() -> ssl.SSLContext:
    """The system's certificate authorities, read once: that takes longer than an exchange."""
    return ssl.create_default_context()
