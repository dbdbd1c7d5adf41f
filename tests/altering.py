"""Altered copies that differ from what they were made of, whatever that was: a fixed replacement equals the original once in a while."""

from __future__ import annotations


def other_end(text: str) -> str:
    """Hexadecimal text with another last digit."""
    return text[:-1] + f"{int(text[-1], 16) ^ 1:x}"


def other_last_byte(data: bytes) -> bytes:
    """Bytes with another last one."""
    return data[:-1] + bytes([data[-1] ^ 1])
