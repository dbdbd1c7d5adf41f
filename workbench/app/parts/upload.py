"""A place to drop a file, which arrives in pieces and stays in memory until it is handed to the node."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
import param

from workbench.app.parts.notes import asset

LIMIT_BYTES = 256 << 20
"""A page keeps the file in memory once; a larger one is imported with the command line, which streams it."""
PIECE_BYTES = 1 << 20


class Upload(pn.custom.JSComponent):
    """One file at a time. accept: endings that the browser offers first. texts: JSON object with choose, hint and sending ("… {share} %").

    on_file(name, content) is called when all of a file is here, too_large(name, size_bytes) instead of it.
    """

    texts = param.String('{"choose": "", "hint": "", "sending": ""}', precedence=0)
    limit = param.Integer(LIMIT_BYTES, precedence=0)
    accept = param.String(".csv,.txt,.xlsx,.parquet", precedence=0)

    _esm = asset("upload.js")
    _stylesheets = [asset("upload.css")]

    def __init__(
        self, on_file: Callable[[str, bytes], Any], too_large: Callable[[str, int], Any], **options: Any
    ) -> None:  # Any: what the callbacks return is of no interest; Panel's layout parameters
        super().__init__(**{"sizing_mode": "stretch_width", "margin": 0, **options})  # type: ignore[no-untyped-call]
        self._on_file, self._too_large = on_file, too_large
        self._pieces = bytearray()
        self._round = -1

    def say(self, **texts: str) -> None:
        """Set the sentences."""
        self.texts = json.dumps(texts, ensure_ascii=False)

    def _handle_msg(self, data: Any) -> Any:  # Any: a message from a browser, checked here
        if not isinstance(data, Mapping):
            return None
        name, size = str(data.get("name", ""))[:200], data.get("size")
        if not isinstance(size, int) or size < 0:
            return None
        if data.get("kind") == "too_large" or size > self.limit:
            return self._too_large(name, size)
        piece = self._taken(data, size)
        self._send_msg({"ok": piece})
        if piece and len(self._pieces) == size:
            content, self._pieces = bytes(self._pieces), bytearray()
            return self._on_file(name, content)
        return None

    def _taken(self, data: Mapping[str, Any], size: int) -> bool:
        """Keep a piece; only the next one of the file that is being sent is taken."""
        at = data.get("at")
        if at == 0:
            self._pieces, self._round = bytearray(), data.get("round", 0)
        if data.get("round") != self._round or at != len(self._pieces):
            return False
        try:
            piece = base64.b64decode(str(data.get("data", "")), validate=True)
        except (binascii.Error, ValueError):
            return False
        if len(piece) > PIECE_BYTES or len(self._pieces) + len(piece) > size:
            return False
        self._pieces += piece
        return True
