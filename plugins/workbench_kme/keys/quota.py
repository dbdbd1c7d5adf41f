"""Quotas and priorities of SAEs: a token bucket in thousandths of keys. Pure.

Document: docs/protocols/key-delivery.md section 1.
"""

from __future__ import annotations

from dataclasses import dataclass

HIGHEST_PRIORITY = 3
_MILLI = 1000
_MINUTES = 60
_HOUR_S = 3600
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Quota:
    """What an SAE may take: `burst` keys at once; `per_minute`, and `per_hour` besides, come back. priority: 0 ordinary to 3
    most urgent. most_reserved: keys that it was given and whose slaves have not all fetched them, at most; 0: any number."""

    burst: int
    per_minute: int
    priority: int = 0
    per_hour: int = 0
    most_reserved: int = 0

    def __post_init__(self) -> None:
        least = min(self.per_minute, self.per_hour, self.most_reserved)
        if self.burst < 1 or least < 0 or not 0 <= self.priority <= HIGHEST_PRIORITY:
            raise ValueError("a quota has a burst of at least 1, rates and a bound of at least 0 and a priority of 0 to 3")

    @property
    def hourly(self) -> int:
        """Keys that come back in an hour."""
        return self.per_minute * _MINUTES + self.per_hour


@dataclass(frozen=True, slots=True)
class Bucket:
    """How much is left of a quota. tokens: thousandths of keys at `at_ms`."""

    tokens: int
    at_ms: int


def full(quota: Quota, now_ms: int) -> Bucket:
    """The bucket of an SAE that took nothing yet."""
    return Bucket(quota.burst * _MILLI, now_ms)


def refilled(quota: Quota, bucket: Bucket, now_ms: int) -> Bucket:
    """The bucket at `now_ms`. A time before its own changes nothing; what is less than a token is not lost."""
    elapsed = now_ms - bucket.at_ms
    if elapsed <= 0:
        return Bucket(min(bucket.tokens, quota.burst * _MILLI), bucket.at_ms)
    tokens = bucket.tokens + elapsed * quota.hourly * _MILLI // _HOUR_MS
    if tokens >= quota.burst * _MILLI:
        return Bucket(quota.burst * _MILLI, now_ms)
    if tokens == bucket.tokens:
        return bucket  # too little time for a thousandth: keep counting from before
    return Bucket(tokens, now_ms)


def take(quota: Quota, bucket: Bucket, number: int, now_ms: int) -> Bucket | int:
    """The bucket after `number` keys, or the whole seconds until they are there: at least 1, -1 for never."""
    current = refilled(quota, bucket, now_ms)
    missing = number * _MILLI - current.tokens
    if missing <= 0:
        return Bucket(-missing, current.at_ms)
    if number > quota.burst or quota.hourly == 0:
        return -1
    return max(1, -(-missing * _HOUR_S // (quota.hourly * _MILLI)))


def kept_from(kept_back: int, priority: int) -> int:
    """How many of the keys kept back an SAE of this priority does not get."""
    return -(-kept_back * (HIGHEST_PRIORITY - priority) // HIGHEST_PRIORITY)
