"""Applications (SAEs) of a site: who is registered, with which certificate and quota. Document: key-delivery.md section 5.1.

The list is the file `applications.json`; the database keeps its number, so that an older copy of either is found. Where the
file is damaged or older nobody is admitted until operators register the applications again.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from workbench.contracts import Migration, Transaction
from workbench.crypto import canonical, certificates, sm3
from workbench.errors import InvalidRequest, NotFound, Refused, StorageFailed, VerificationError, WorkbenchError
from workbench_kme.keys import KeyStore, Quota, limiting
from workbench_kme.keys.model import is_tag
from workbench_kme.keys.rows import add_event
from workbench_kme.service.config import SAE_URI, SiteConfig, is_id, is_name

FILE: Final = "applications.json"
MOST: Final = 400
"""Registered and withdrawn together: their ids fit one small body of the link."""
MOST_BYTES: Final = 1 << 20
REGISTERED: Final = "registered"
WITHDRAWN: Final = "withdrawn"
MOST_KEYS: Final = 1_000_000
MOST_PER_HOUR: Final = 3_600_000_000
HIGHEST_PRIORITY: Final = 3
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")

APPLICATION_MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "application",
        1,
        """
        CREATE TABLE application_list (
            only   INTEGER PRIMARY KEY CHECK (only = 1),
            number INTEGER NOT NULL
        );
        INSERT INTO application_list (only, number) VALUES (1, 0);
        """,
    ),
)


@dataclass(frozen=True, slots=True)
class Application:
    """One SAE. fingerprint: SHA-256 of its certificate, "" for any of its id by the site's authority. line: the only line it
    gets keys of, "" for any (of kme.json only, whose other ends know it by theirs). tenant: its tag: of lines with another one it gets no key. per_hour, burst, most_reserved (0: any number), priority: keys.Quota. since_ms: of `state`."""

    application: str
    fingerprint: str
    line: str
    tenant: str
    per_hour: int
    burst: int
    most_reserved: int
    priority: int
    state: str
    since_ms: int

    @property
    def is_registered(self) -> bool:
        """Whether it may ask for keys."""
        return self.state == REGISTERED

    @property
    def quota(self) -> Quota:
        """As the key store wants it."""
        return Quota(self.burst, 0, self.priority, self.per_hour, self.most_reserved)


def format_list(number: int, applications: Sequence[Application]) -> bytes:
    """The bytes of the file."""
    return canonical.format({**_content(number, applications), "digest": _digest(number, applications)})


def parse_list(data: bytes) -> tuple[int, dict[str, Application]]:
    """(number, applications by id). Raises ValueError for anything that `format_list` does not write."""
    try:
        value: dict[str, Any] = canonical.parse_object(data)
        if set(value) != {"v", "number", "applications", "digest"} or value["v"] != 1:
            raise ValueError("other members")
        number, found = value["number"], [_application(one) for one in value["applications"]]
    except (VerificationError, TypeError) as error:
        raise ValueError("not a list of applications") from error
    if type(number) is not int or number < 1 or len(found) > MOST or format_list(number, found) != data:
        raise ValueError("digest, order or number")
    if [one.application for one in found] != sorted({one.application for one in found}):
        raise ValueError("order")
    return number, {one.application: one for one in found}


def _application(value: Any) -> Application:  # Any: parsed JSON
    names = {one.name: one.type for one in fields(Application)}
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError("members")
    if any(type(value[name]) is not (int if kind == "int" else str) for name, kind in names.items()):
        raise ValueError("types")
    made = Application(**value)
    check(made)
    return made


def check(one: Application) -> None:
    """Return if every member is in its range. Raises ValueError with the name of the one that is not."""
    for name, holds in {
        "application": is_name(one.application),
        "fingerprint": one.fingerprint == "" or _FINGERPRINT.fullmatch(one.fingerprint) is not None,
        "line": one.line == "" or is_id(one.line),
        "tenant": one.tenant == "" or is_tag(one.tenant),
        "per_hour": 0 <= one.per_hour <= MOST_PER_HOUR,
        "burst": 1 <= one.burst <= MOST_KEYS,
        "most_reserved": 0 <= one.most_reserved <= MOST_KEYS,
        "priority": 0 <= one.priority <= HIGHEST_PRIORITY,
        "state": one.state in (REGISTERED, WITHDRAWN),
        "since_ms": one.since_ms >= 0,
    }.items():
        if not holds:
            raise ValueError(name)


def _content(number: int, applications: Sequence[Application]) -> dict[str, Any]:
    return {"v": 1, "number": number, "applications": [asdict(one) for one in applications]}


def _digest(number: int, applications: Sequence[Application]) -> str:
    """Finds damage, not forgery: the file is as safe as kme.json beside it."""
    return sm3.digest(canonical.format(_content(number, applications))).hex()


class Applications:
    """The list of one site. Looking takes no lock; changes come one after the other.

    problem: "" while the list is sound; "damaged", "older" or "missing": nobody is admitted then.
    """

    def __init__(self, folder: Path, config: SiteConfig, store: KeyStore, *, authority: bytes) -> None:
        self._path, self._config, self._store, self._authority = folder / FILE, config, store, authority
        self._lock = threading.Lock()
        self._listed: Mapping[str, Application] = {}
        self._unwritten: set[str] = set()
        """Withdrawn in the file, and not yet as an event: withdrawing again writes it."""
        self.problem = ""
        self.changed: Callable[[], None] = lambda: None
        """Called after every change, without a lock."""
        self.is_elsewhere: Callable[[str], bool] = lambda sae: any(sae in line.peer.saes for line in config.lines)
        """Whether an id is known as an application of another site."""
        self._open()

    def registered(self, sae: str) -> Application | None:
        """The application of this id, if it is registered."""
        found = self._listed.get(sae)
        return found if found is not None and found.is_registered else None

    def knows(self, sae: str) -> bool:
        """Whether this id is one of this site, withdrawn ones included."""
        return sae in self._listed or sae in self._config.saes

    def admits(self, sae: str, fingerprint: str) -> bool:
        """Whether whoever has this certificate is a registered application."""
        found = self.registered(sae)
        return found is not None and found.fingerprint in ("", fingerprint)

    def listed(self) -> list[Application]:
        """All by id, withdrawn ones included."""
        return [self._listed[name] for name in sorted(self._listed)]

    def told_on(self, line: str) -> tuple[list[str], list[str]]:
        """What the other end of a line is told: (registered for it, with its tag; withdrawn), by id."""
        return (
            [one.application for one in self.listed() if one.is_registered and one.line == line and one.tenant == self._tenant_of(line)],
            [one.application for one in self.listed() if not one.is_registered],
        )

    # ---- changing

    def register(self, wanted: Application, certificate: bytes, *, act: str) -> Application:
        """Take in a new application, or one that was withdrawn. certificate: PEM, its own by the site's authority.

        Raises Refused APPLICATION_KNOWN, APPLICATIONS_FULL; InvalidRequest APPLICATION_CERTIFICATE, MALFORMED.
        """
        made = replace(wanted, fingerprint=self._fingerprint(wanted.application, certificate), state=REGISTERED)
        with self._lock:
            self._require_sound(made)
            if self.registered(made.application) is not None:
                raise Refused(
                    f"应用 {made.application} 已登记：修改请用 set", f"the application {made.application} is registered already: change it with set",
                    code="APPLICATION_KNOWN",
                )  # fmt: skip
            if made.application not in self._listed and len(self._listed) >= MOST:
                raise Refused(
                    f"本站已登记和撤销的应用达到 {MOST} 个", f"{MOST} applications of this site are registered or withdrawn: no more fit", code="APPLICATIONS_FULL"
                )
            made = self._keep(made, "application.registered", act)
        self.changed()
        return made

    def set(self, wanted: Application, certificate: bytes, *, act: str) -> Application:
        """Change what a registered application may do, and its certificate unless it is b"". Raises NotFound NO_APPLICATION."""
        with self._lock:
            before = self._require(wanted.application)
            pinned = self._fingerprint(wanted.application, certificate) if certificate else before.fingerprint
            made = replace(wanted, fingerprint=pinned, state=REGISTERED, since_ms=before.since_ms)
            self._require_sound(made)
            made = self._keep(made, "application.changed", act)
        self.changed()
        return made

    def withdraw(self, sae: str, *, act: str) -> bool:
        """Admit an application no more, for good or until it is registered again; False when it was withdrawn before.

        Raises NotFound NO_APPLICATION.
        """
        with self._lock:
            found = self._listed.get(sae)
            if found is not None and not found.is_registered and sae not in self._unwritten:
                return False
            self._keep(replace(found or self._require(sae), state=WITHDRAWN), "application.withdrawn", act)
        self.changed()
        return True

    # ---- private

    def _require(self, sae: str) -> Application:
        found = self.registered(sae)
        if found is None:
            raise NotFound(
                f"本站没有登记应用 {sae}：请核对编号，或先登记", f"no application {sae} is registered at this site: check the id, or register it",
                code="NO_APPLICATION",
            )  # fmt: skip
        return found

    def _require_sound(self, one: Application) -> None:
        try:
            check(one)
        except ValueError as error:
            raise InvalidRequest(f"成员 {error} 的值不符", f"the value of {error} does not fit", code="MALFORMED") from error
        known = {line.line for line in self._config.lines}
        if one.line not in known and one.line:
            raise NotFound("本站没有这条线路", "this site has no such line", code="NO_SUCH_LINE")
        if not one.line and one.application not in self._config.saes:
            raise InvalidRequest(
                f"应用 {one.application} 不在 kme.json 中，请写明线路：对端由此得知",
                f"the application {one.application} is not in kme.json: name its line, whose far end is told of it then",
                code="APPLICATION_LINE",
            )
        if one.line and one.tenant != self._tenant_of(one.line):
            raise InvalidRequest(
                f"线路 {one.line} 的租户标记与应用 {one.application} 的不同：核对标记，或登记到本租户的线路",
                f"line {one.line} has another tenant's tag than the application {one.application}: check the tag, or name a line of its own tenant",
                code="APPLICATION_TENANT",
            )
        if self.is_elsewhere(one.application) or one.application == "node":
            raise Refused(
                f"编号 {one.application} 已属于对端站点的应用：另选编号", f"{one.application} is the id of an application of another site: choose another",
                code="APPLICATION_TAKEN",
            )  # fmt: skip

    def _fingerprint(self, sae: str, certificate: bytes) -> str:
        """Of the certificate, which must be this application's, by the site's authority."""
        try:
            facts = certificates.describe(certificate)
            certificates.verify_issued(certificate, self._authority)
            is_its = facts.uris == (SAE_URI + sae,)
        except (VerificationError, ValueError):
            is_its = False
        if not is_its:
            raise InvalidRequest(
                f"这不是本站签发给应用 {sae} 的证书：核对文件与编号",
                f"this is no certificate of the application {sae} by this site's authority: check file and id",
                code="APPLICATION_CERTIFICATE",
            )
        return facts.fingerprint

    def _keep(self, made: Application, kind: str, act: str) -> Application:
        """One change on disk: the file first, then its number with the event. Called with the lock held."""
        made = replace(made, since_ms=self._store.core.now()) if kind != "application.changed" else made
        is_anew, before = bool(self.problem), self._listed
        after = {**({} if is_anew else before), made.application: made}
        number = self._number() + 1
        try:
            former = None if is_anew else self._path.read_bytes()
            self._write(format_list(number, [after[name] for name in sorted(after)]))
        except OSError as error:
            raise StorageFailed(
                "应用登记表写不进磁盘，未作改动：请运维人员检查磁盘与文件夹",
                "the list of applications cannot be written to disk and nothing was changed: operators check disk and folder",
                code="STORAGE_FAILED",
            ) from error
        if not made.is_registered:
            self._listed = after  # whatever fails now: it is admitted no more
            self._unwritten.add(made.application)

        def work(tx: Transaction, now: int) -> None:
            if is_anew:
                for sae in _with_quota(tx):
                    limiting.remove_quota(tx, sae)
            if made.is_registered:
                limiting.set_quota(tx, now, made.application, made.quota)
            else:
                limiting.remove_quota(tx, made.application)
            tx.execute("UPDATE application_list SET number = ?", (number,))
            facts: dict[str, int | str] = {
                "application": made.application, "fingerprint": made.fingerprint, "tenant": made.tenant, "per_hour": made.per_hour, "burst": made.burst,
                "most_reserved": made.most_reserved, "priority": made.priority, "act": act,
            }  # fmt: skip
            add_event(tx, now, kind, made.line, key_ids=(), anew=int(is_anew), **facts)

        try:
            self._store.core.change(work)
        except BaseException:
            if former is not None and made.is_registered:
                self._write(former)
            raise
        self._listed, self.problem = after, ""
        self._unwritten.discard(made.application)
        return made

    def _tenant_of(self, line: str) -> str:
        return next((one.tenant for one in self._config.lines if one.line == line), "")

    def _number(self) -> int:
        with self._store.core.database.read() as reader:
            return int(reader.execute("SELECT number FROM application_list").fetchone()[0])

    def _write(self, data: bytes) -> None:
        staged = self._path.with_suffix(".new")
        staged.unlink(missing_ok=True)
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _open(self) -> None:
        """Read the list, compare its number with the database's, take in new SAEs of kme.json."""
        number = self._number()
        try:
            found, listed = self._read()
        except FileNotFoundError:
            found, listed = 0, {}
        except (OSError, ValueError):
            found, listed = -1, {}
        if found < number:
            self.problem = "damaged" if found < 0 else "older" if found else "missing"
            self._store.core.change(lambda tx, now: add_event(tx, now, "application.list-refused", "", cause=self.problem))
            return
        fresh = {sae: self._first(sae) for sae in self._config.saes if sae not in listed}
        after = {**listed, **fresh}
        if fresh or found == 0:
            self._write(format_list(found + 1, [after[name] for name in sorted(after)]))
        newest = found + 1 if fresh or found == 0 else found

        def work(tx: Transaction, now: int) -> None:
            for sae in _with_quota(tx):
                if sae not in after or not after[sae].is_registered:
                    limiting.remove_quota(tx, sae)
            for one in after.values():
                if one.is_registered:
                    limiting.set_quota(tx, now, one.application, one.quota)
            tx.execute("UPDATE application_list SET number = ?", (newest,))
            if found > number:  # a change whose event a crash, or an older copy of the database, has lost
                add_event(tx, now, "application.list-found", "", number=found, known=number)
            for sae in fresh:
                add_event(tx, now, "application.registered", "", application=sae, fingerprint=fresh[sae].fingerprint, act="kme.json")

        self._store.core.change(work)
        self._listed = after

    def _read(self) -> tuple[int, dict[str, Application]]:
        facts = os.lstat(self._path)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) & 0o077:
            raise ValueError("open to others")
        with self._path.open("rb") as file:
            return parse_list(file.read(MOST_BYTES))

    def _first(self, sae: str) -> Application:
        """An SAE of kme.json as it is taken in: the site's quota, and the certificate that lies in `clients/` if it does."""
        quota = self._config.quota
        try:
            fingerprint = self._fingerprint(sae, (self._path.parent / "clients" / f"{sae}.pem").read_bytes())
        except (OSError, WorkbenchError):
            fingerprint = ""
        per_hour = min(MOST_PER_HOUR, quota.per_minute * 60)
        tenant = self._config.tenants.get(sae, "")
        return replace(_blank(sae), fingerprint=fingerprint, tenant=tenant, per_hour=per_hour, burst=quota.burst, since_ms=self._store.core.now())


def _blank(sae: str) -> Application:
    return Application(sae, "", "", "", 0, 1, 0, 0, REGISTERED, 0)


def _with_quota(tx: Transaction) -> list[str]:
    return [str(row[0]) for row in tx.execute("SELECT sae FROM kme_sae WHERE registered = 1").fetchall()]


__all__ = ["APPLICATION_MIGRATIONS", "FILE", "MOST", "Application", "Applications", "check", "format_list", "parse_list"]
