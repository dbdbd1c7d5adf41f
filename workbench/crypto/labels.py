"""What precedes every signed body, so that a signature made for one use never fits another (decision 3)."""

from __future__ import annotations

import re

_KIND = re.compile(r"[a-z][a-z0-9-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9._:-]{0,128}")


def signing_input(kind: str, *, party: str, job: str, body: bytes) -> bytes:
    """The bytes that are signed: three lines, each ended by a line feed, then the body as it is.

        workbench/v1/<kind> LF <party> LF <job> LF <body>

    kind: what is signed, such as `message`, `contract` or `cosignature`. party: who signs. job: the job's id, or "".
    None of the three can contain a line feed, so the cut between them and the body is certain. Raises ValueError.
    """
    if not _KIND.fullmatch(kind) or not party or not _NAME.fullmatch(party) or not _NAME.fullmatch(job):
        raise ValueError("kind, party and job of a signature have letters, digits and . _ : - only")
    return f"workbench/v1/{kind}\n{party}\n{job}\n".encode("ascii") + body
