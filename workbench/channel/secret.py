"""Secret bytes that are not shown, compared in constant time and overwritten as far as Python can.

What is overwritten is the one buffer of a `Secret`. Copies that libraries or `bytes` objects made on the way live until
their memory is used again: SECURITY.md says so, and nothing here promises more.
"""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn

from workbench.crypto import compare


class Secret:
    """A copy of secret bytes; `repr` shows the length, pickling and copying are refused."""

    __slots__ = ("_buffer", "_wiped")

    def __init__(self, value: bytes | bytearray) -> None:
        self._buffer = bytearray(value)
        self._wiped = False

    def reveal(self) -> bytes:
        """The bytes, for the libraries, most of which take nothing else. Raises ValueError once wiped."""
        if self._wiped:
            raise ValueError("this secret was wiped")
        return bytes(self._buffer)

    def take(self, count: int) -> bytes:
        """The first `count` bytes, which are then overwritten and gone. Raises ValueError if there are fewer."""
        if count > len(self._buffer):
            raise ValueError("the secret is shorter")
        taken = bytes(self._buffer[:count])
        self._buffer[:count] = bytes(count)
        del self._buffer[:count]
        return taken

    def wipe(self) -> None:
        """Overwrite the bytes; may be called again."""
        self._buffer[:] = bytes(len(self._buffer))
        self._wiped = True

    @property
    def wiped(self) -> bool:
        """Whether the bytes are gone."""
        return self._wiped

    def __len__(self) -> int:
        return len(self._buffer)

    def __enter__(self) -> Secret:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare.equal(self.reveal(), other.reveal())

    __hash__ = None  # type: ignore[assignment]  # a secret is no key of a dictionary

    def __repr__(self) -> str:
        return f"Secret({len(self._buffer)} bytes)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied or stored")

    def __copy__(self) -> NoReturn:
        self.__reduce__()

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce__()
