"""The last look at what leaves an institution: a message that holds a phone or identity number in plain is not sent.

Nothing here should ever find anything: messages are made of masked points, digests and terms. It is the net below a
mistake in a plugin (requirement row A3), not a filter that anything else may rely on. Encoded or hashed numbers are
found by tests on captured runs, not here.
"""

from __future__ import annotations

import re
from typing import Final

from workbench.errors import Refused

_DIGITS_TO_ZERO: Final = bytes(ord("0") if ord("0") <= byte <= ord("9") else ord(" ") for byte in range(256))
_SHORTEST: Final = b"0" * 11

# A number that stands by itself; digests, times in ms and ids of jobs are longer, shorter or joined to letters.
_NUMBER: Final = re.compile(
    rb"(?<![0-9A-Za-z])(?:(?:\+?86|0086)[ -]?)?1[3-9][0-9]{9}(?![0-9A-Za-z])"
    rb"|(?<![0-9A-Za-z])[1-9][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])[0-9]{5}[0-9Xx](?![0-9A-Za-z])"
)


def refuse_identifiers(payload: bytes) -> None:
    """Raise Refused (IDENTIFIER_IN_MESSAGE) when the payload holds a phone or identity number in plain digits.

    Cost: about 2 ns a byte; only a payload with 11 digits in a row, which random bytes never have, is searched further.
    """
    if _SHORTEST in payload.translate(_DIGITS_TO_ZERO) and _NUMBER.search(payload):
        raise Refused(
            "消息中出现明文手机号或身份证号，没有发出，本次任务中止。运维查看是哪个插件写入的",
            "A message held a phone or identity number in plain; it was not sent and the job stops. "
            "Operations find out which plugin wrote it",
            code="IDENTIFIER_IN_MESSAGE",
        )
