"""Several devices 密码设备 side by side, each with a key-encryption key of its own; another one joins while they work.

Document: docs/protocols/key-delivery.md section 3.4. New values are spread over the devices that serve; a value is opened by the one
whose key wrapped it, which its header names. A device that is unfit is out alone: what it wrapped is refused, not lost.
Thread-safe.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

from workbench.crypto import random
from workbench.errors import KeyUnavailable, SelfTestFailed, VerificationError
from workbench_kme.devices import worker, wrapping
from workbench_kme.devices.access import Pair
from workbench_kme.devices.device import Device, Session
from workbench_kme.devices.selftest import SelfTestReport, TestResult
from workbench_kme.devices.wrapping import Suite

HOME: Final = "home"
"""Name of the first device: the one of `kme.json`."""
_OPEN_S: Final = 60.0
_WORK_S: Final = 15.0
_AT_ONCE: Final = 4096
_END_S: Final = 5.0

Collector = Callable[[], Sequence[bytes | bytearray]]


class Member(Protocol):
    """One device of a group. report: of its last self-test. own_process: whether it works beside this process."""

    kind: str
    suite: Suite
    kek_id: bytes
    own_process: bool

    @property
    def report(self) -> SelfTestReport: ...

    @property
    def is_fit(self) -> bool: ...

    def submit(self, act: str, purpose: str, pairs: Sequence[Pair]) -> Collector:
        """Begin `wrap` or `unwrap`; call what is returned once, always. Either raises KeyUnavailable, SelfTestFailed."""

    def selftest(self) -> SelfTestReport: ...

    def close(self) -> None: ...


class InProcess:
    """A device in this process: the first one, or a token. Fulfils Member."""

    own_process = False

    def __init__(self, device: Device) -> None:
        self.device = device
        self.kind, self.suite, self.kek_id = device.kind, device.suite, device.kek_id
        self._session = Session(device)

    @property
    def report(self) -> SelfTestReport:
        """Of the last self-test."""
        return self.device.report

    @property
    def is_fit(self) -> bool:
        """Whether it answers."""
        return self.device.enabled

    def submit(self, act: str, purpose: str, pairs: Sequence[Pair]) -> Collector:
        """Nothing runs until it is collected."""
        if act == "wrap":
            return lambda: self._session.wrap_many(purpose, pairs)
        return lambda: self._session.unwrap_many(purpose, pairs)

    def selftest(self) -> SelfTestReport:
        """Anew."""
        return self.device.selftest()

    def close(self) -> None:
        """Let go of the key."""
        self.device.close()


class Worker:
    """A soft device in a process of its own. Fulfils Member. Raises KeyUnavailable when its file cannot be used.

    path: its file, made when `is_new`. A process that ends or keeps silent makes the device unfit until `selftest`.
    """

    kind = "soft"
    own_process = True

    def __init__(self, path: Path, passphrase: str, *, is_new: bool = False) -> None:
        self._path, self._passphrase = path, passphrase
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: socket.socket | None = None
        self.report = SelfTestReport(())
        self._open(is_new=is_new)

    @property
    def is_fit(self) -> bool:
        """Whether it answers."""
        return self._end is not None and self.report.passed

    @property
    def pid(self) -> int:
        """Id of its process; 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    def submit(self, act: str, purpose: str, pairs: Sequence[Pair]) -> Collector:
        """The work runs there until it is collected; one request at a time."""
        self._lock.acquire()
        try:
            self._tell([act.encode(), purpose.encode(), *chain.from_iterable(pairs)])
        except BaseException:
            self._lock.release()
            raise
        return self._collect

    def selftest(self) -> SelfTestReport:
        """Anew; a process that has ended is started again."""
        with self._lock:
            if self._end is None:
                with contextlib.suppress(KeyUnavailable):
                    self._open()
                return self.report
            with contextlib.suppress(KeyUnavailable):
                self._tell([b"selftest"])
                self.report = worker.parse_report(self._hear())
            return self.report

    def close(self) -> None:
        """End the process; it lets go of the key."""
        with self._lock:
            self._drop()

    def _open(self, *, is_new: bool = False) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", worker.__name__, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(_OPEN_S)
        self._end = ours
        self._tell([b"create" if is_new else b"open", str(self._path).encode(), self._passphrase.encode()])
        kek_id, suite, *results = self._hear()
        self.kek_id, self.suite = kek_id, Suite(suite[0])
        self.report = worker.parse_report(results)
        ours.settimeout(_WORK_S)

    def _collect(self) -> Sequence[bytes]:
        try:
            return self._hear()
        finally:
            self._lock.release()

    def _tell(self, parts: Sequence[bytes | bytearray]) -> None:
        if self._end is None:
            raise _ended()
        try:
            worker.send(self._end, parts)
        except OSError as error:
            self._drop()
            raise _ended() from error

    def _hear(self) -> list[bytes]:
        try:
            assert self._end is not None
            parts = worker.receive(self._end)
        except (OSError, EOFError, ValueError) as error:
            self._drop()
            raise _ended() from error
        if parts[0] == worker.BROKEN:
            raise wrapping.does_not_open()
        if parts[0] == worker.REFUSED:
            self._drop()
            code, zh, en = (one.decode() for one in parts[1:4])
            raise KeyUnavailable(zh, en, code=code)
        if parts[0] != worker.OK:
            self.report = SelfTestReport((*self.report.results, TestResult("device", "its own word", False)))
            raise _ended()
        return parts[1:]

    def _drop(self) -> None:
        """The process is let go: it ends with the socket, and is ended where it does not."""
        if self._end is not None:
            self._end.close()
            self._end = None
            self.report = SelfTestReport((TestResult("process", "whether it runs", False),))
        if self._process is not None:
            try:
                self._process.wait(timeout=_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class DeviceGroup:
    """Fulfils DeviceAccess. home: the device of `kme.json`, which also keeps the pools of authentication keys."""

    def __init__(self, home: Device, *, source: random.RandomSource = random.SYSTEM) -> None:
        self.home = home
        self._source = source
        self._lock = threading.Lock()
        self._members: dict[str, Member] = {HOME: InProcess(home)}
        self._draining: frozenset[str] = frozenset()
        self._expected: frozenset[bytes] = frozenset()
        self._seen_fit: dict[str, bool] = {}
        self.news: deque[tuple[str, bool]] = deque(maxlen=100)
        """Devices that went out of service, or came back (True), oldest first, for whoever writes it down."""
        self.look()

    # ---- which

    @property
    def members(self) -> dict[str, Member]:
        """By name, the first one first."""
        return dict(self._members)

    def add(self, name: str, member: Member) -> None:
        """From now on new values go to this one too. The name is free."""
        with self._lock:
            if name in self._members:
                raise ValueError("a device of this name is here")
            self._members = {**self._members, name: member}

    def take(self, name: str) -> Member:
        """Take a device out; the caller closes it. What it wrapped opens no more, and nothing is stored under its key."""
        with self._lock:
            member = self._members[name]
            self._members = {one: kept for one, kept in self._members.items() if one != name}
            self._draining -= {name}
            self._seen_fit.pop(name, None)
        return member

    def drain(self, name: str, *, on: bool) -> None:
        """Whether new values keep away from a device that opens what it has."""
        with self._lock:
            self._draining = self._draining | {name} if on else self._draining - {name}

    def state(self, name: str) -> str:
        """`serving`, `draining` or `out`."""
        if not self._members[name].is_fit:
            return "out"
        return "draining" if name in self._draining else "serving"

    @property
    def enabled(self) -> bool:
        """Whether any device takes new values."""
        return any(self.state(name) == "serving" for name in self.members)

    @property
    def kek_ids(self) -> frozenset[bytes]:
        """Of all devices here, fit or not."""
        return frozenset(one.kek_id for one in self._members.values())

    @property
    def serving_keks(self) -> frozenset[bytes]:
        """Of those that open values now."""
        return frozenset(one.kek_id for one in self._members.values() if one.is_fit)

    def selftest(self) -> dict[str, SelfTestReport]:
        """Test every device anew, each for itself."""
        done = {name: member.selftest() for name, member in self.members.items()}
        self.look()
        return done

    def look(self) -> None:
        """Notice which devices went out of service or came back."""
        with self._lock:
            for name, member in self._members.items():
                is_fit = member.is_fit
                if self._seen_fit.get(name, True) != is_fit:
                    self.news.append((name, is_fit))
                self._seen_fit[name] = is_fit

    def expect(self, keks: frozenset[bytes]) -> None:
        """The store has values of these: one whose device is not here is refused, and not taken for altered."""
        self._expected = keks

    def check(self) -> None:
        """Return if a device serves. Raises SelfTestFailed DEVICE_DISABLED, KeyUnavailable DEVICE_CLOSED."""
        if not self.enabled:
            self.home.check()
            raise KeyUnavailable("没有可用的密码设备：密钥管理人员查看设备列表", "no device serves: key staff look at the list of devices", code="DEVICE_OUT")

    def close(self) -> None:
        """Let go of all keys and end all processes."""
        for member in self.members.values():
            member.close()

    # ---- DeviceAccess

    def generate_random(self, count: int) -> bytes:
        """Random bytes."""
        self.check()
        return self._source(count)

    def wrap(self, purpose: str, value: bytes | bytearray, context: bytes) -> bytes:
        """One value, by the first device that serves."""
        return self._wrapped(purpose, [(value, context)], most=1)[0]

    def wrap_many(self, purpose: str, pairs: Sequence[Pair]) -> list[bytes]:
        """Spread over all devices that serve, two neighbours to each: the two directions of a line alternate."""
        found: list[bytes] = []
        for start in range(0, len(pairs), _AT_ONCE):
            found += self._wrapped(purpose, pairs[start : start + _AT_ONCE])
        return found

    def unwrap(self, purpose: str, wrapped: bytes, context: bytes) -> bytearray:
        """One value, by the device that wrapped it."""
        return self.unwrap_many(purpose, [(wrapped, context)])[0]

    def unwrap_many(self, purpose: str, pairs: Sequence[Pair]) -> list[bytearray]:
        """Each by the device that wrapped it, side by side; where one does not open, none is given out."""
        self.check()
        by_kek = {one.kek_id: name for name, one in self.members.items() if one.is_fit}
        shares: dict[str, list[int]] = {}
        for place, (wrapped, _context) in enumerate(pairs):
            kek = wrapping.kek_of(wrapped)
            if kek not in by_kek:
                raise wrapping.out_of_service(kek) if kek in self.kek_ids | self._expected else wrapping.does_not_open()
            shares.setdefault(by_kek[kek], []).append(place)
        found = self._shared("unwrap", purpose, pairs, shares)
        return [one if isinstance(one, bytearray) else bytearray(one) for one in found]

    # ---- inside

    def _wrapped(self, purpose: str, pairs: Sequence[Pair], *, most: int = 0) -> list[bytes]:
        """most: how many devices share the work, 0 for all. A device that fails meanwhile is left out of the next try."""
        while True:
            names = [name for name, one in self.members.items() if one.is_fit and name not in self._draining]
            if not names:  # looked at once: one may go out of service between two looks
                self.check()
                raise _ended()
            names = names[:most] if most else names
            shares: dict[str, list[int]] = {}
            for place in range(len(pairs)):
                shares.setdefault(names[place // 2 % len(names)], []).append(place)
            try:
                return [bytes(one) for one in self._shared("wrap", purpose, pairs, shares)]
            except (KeyUnavailable, SelfTestFailed):
                if all(name in self.members and self.state(name) == "serving" for name in shares):
                    raise

    def _shared(
        self, act: str, purpose: str, pairs: Sequence[Pair], shares: dict[str, list[int]]
    ) -> list[bytes | bytearray]:
        """Every device its share. Processes first, in one order for all threads; what runs here runs meanwhile."""
        members = self.members
        found: list[bytes | bytearray] = [b""] * len(pairs)
        waiting: list[tuple[list[int], Collector]] = []
        problem: Exception | None = None
        for name in sorted(shares):
            try:
                places = shares[name]
                collect = members[name].submit(act, purpose, [pairs[place] for place in places])
                waiting.insert(len(waiting) if members[name].own_process else 0, (places, collect))
            except Exception as error:  # noqa: BLE001 - whatever was begun must be collected, or its device stays taken
                problem = problem or (_ended() if isinstance(error, KeyError) else error)
        for places, collect in waiting:
            try:
                for place, one in zip(places, collect(), strict=True):
                    found[place] = one
            except Exception as error:  # noqa: BLE001 - as above
                problem = problem or error
        if problem is not None:
            for one in found:
                if isinstance(one, bytearray):
                    one[:] = bytes(len(one))
            if not isinstance(problem, VerificationError):
                self.look()
            raise problem
        return found


def _ended() -> KeyUnavailable:
    return KeyUnavailable(
        "密码设备的进程没有应答，该设备停用：密钥管理人员重新自检",
        "the process of a device does not answer and the device is out of service: key staff test it again",
        code="DEVICE_OUT",
    )
