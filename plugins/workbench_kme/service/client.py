"""Clients of a KME: ETSI GS QKD 014 for an SAE, and the management interface for the site's own node.

Document: key-delivery.md sections 6 and 7. Synchronous, safe for threads, connections kept. Nothing of a key's value
is in a repr, an error or a log.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from workbench.errors import Denied, InvalidRequest, KeyUnavailable, NotFound, PeerError, Refused, WorkbenchError
from workbench_kme.service import views
from workbench_kme.service.tls import client_context, foreign_context
from workbench_kme.service.transport import Caller, Reply

V = TypeVar("V")

TIMEOUT_S = 20.0
SLOW_S = 120.0
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_KINDS: dict[int, type[WorkbenchError]] = {400: InvalidRequest, 401: Denied, 404: NotFound, 503: KeyUnavailable}
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who calls and whom: certificate and key of the SAE or node, authority of the site (all PEM), id of the KME.

    fingerprint: of the certificate of a KME of another make, which is pinned in place of an id; "" for one of ours.
    """

    certificate: bytes
    private_key: bytes = field(repr=False)
    authority: bytes
    kme: str
    fingerprint: str = ""

    @staticmethod
    def from_site(folder: Path, name: str, *, kme: str) -> Credentials:
        """Those of `clients/<name>` in a site's folder; name: an SAE's id, or `node`."""
        clients = folder / "clients"
        return Credentials(
            certificate=(clients / f"{name}.pem").read_bytes(),
            private_key=(clients / f"{name}.key").read_bytes(),
            authority=(folder / "authority.pem").read_bytes(),
            kme=kme,
        )


@dataclass(frozen=True, slots=True)
class ReceivedKey:
    """One key from a KME. extension: `key_extension` as it came; provenance: its origin, "" if the KME tells none.

    container: the `key_container_extension` it came under.
    """

    key_id: str
    value: bytes = field(repr=False)
    extension: Mapping[str, Any]
    container: Mapping[str, Any] = field(default_factory=dict)

    @property
    def provenance(self) -> str:
        """`simulated`, `device-014`, `imported`, or "" where a KME of another make says nothing."""
        stated = self.extension.get("workbench_provenance")
        origin = stated.get("origin") if isinstance(stated, Mapping) else None
        return origin if origin in ("simulated", "device-014", "imported") else ""


class Ets014Client:
    """Get status, Get key and Get key with key IDs of ETSI GS QKD 014 V1.1.1, against a KME of any make.

    address: host:port. Errors: KeyUnavailable for 503 (code, retry_after_s and stored_key_count in details),
    InvalidRequest for 400, Refused SAE_NOT_NAMED for 401, PeerUnavailable without an answer, PeerError otherwise.
    """

    def __init__(self, address: str, credentials: Credentials, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._caller = _caller(address, credentials)

    def status(self, slave: str) -> dict[str, Any]:
        """The status object for keys shared with this slave SAE."""
        return self._call("GET", f"{_path(slave)}/status", None)

    def get_keys(
        self,
        slave: str,
        *,
        number: int = 1,
        size: int = 256,
        additional_slaves: Sequence[str] = (),
        origins: Sequence[str] = (),
    ) -> list[ReceivedKey]:
        """Fresh keys for this SAE as master. origins: keys of these origins only (a KME of this make)."""
        body: dict[str, Any] = {"number": number, "size": size}
        if additional_slaves:
            body["additional_slave_SAE_IDs"] = list(additional_slaves)
        if origins:
            body["extension_mandatory"] = [{"workbench_origin": list(origins)}]
        keys = _parse_keys(self._call("POST", f"{_path(slave)}/enc_keys", body), size // 8)
        if len(keys) != number:
            raise _malformed()
        return keys

    def get_keys_by_id(self, master: str, key_ids: Sequence[str]) -> list[ReceivedKey]:
        """The keys that the master was given, for this SAE as slave, in the order of the ids; once."""
        body = {"key_IDs": [{"key_ID": one} for one in key_ids]}
        keys = {one.key_id: one for one in _parse_keys(self._call("POST", f"{_path(master)}/dec_keys", body), 0)}
        if set(keys) != {one.lower() for one in key_ids}:
            raise _malformed()
        return [keys[one.lower()] for one in key_ids]

    def close(self) -> None:
        """Close the kept connections."""
        self._caller.close()

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        reply = self._caller.call(method, f"/api/v1/keys/{path}", data, timeout_s=self._timeout_s)
        if reply.status != 200:
            raise _refusal_014(reply)
        return _object(reply.body)


class ManagementClient:
    """The management interface of the site's own KME; one method per row of key-delivery.md section 7.

    Errors: Refused with the KME's own code (NotFound and Denied included), KeyUnavailable for 503, PeerUnavailable
    without an answer.
    """

    def __init__(self, address: str, credentials: Credentials, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._caller = _caller(address, credentials)

    def overview(self) -> views.Overview:
        """The KME as a whole."""
        return _view(views.Overview, self._get("status"))

    def lines(self) -> list[views.Line]:
        """All lines of this site."""
        return _views(views.Line, self._get("lines"), "lines")

    def line(self, line: str) -> views.Line:
        """One line."""
        return _view(views.Line, self._get(f"lines/{line}"))

    def blocks(self, line: str, *, limit: int = 100, before: int = -1) -> list[views.Block]:
        """Blocks of a line, newest first; before: only those with a smaller number, -1 for all."""
        more = f"&before={before}" if before >= 0 else ""
        return _views(views.Block, self._get(f"lines/{line}/blocks?limit={limit}{more}"), "blocks")

    def alarms(self, *, open_only: bool = False, limit: int = 100) -> list[views.Alarm]:
        """Alarms, newest first."""
        return _views(views.Alarm, self._get(f"alarms?limit={limit}{'&open=true' if open_only else ''}"), "alarms")

    def events(self, *, after: int = 0, limit: int = 500) -> list[views.Event]:
        """Events with a number above `after`, oldest first: what the node copies into its evidence."""
        return _views(views.Event, self._get(f"events?after={after}&limit={limit}"), "events")

    def eavesdrop(self, line: str, kind: str, fraction: float) -> views.Line:
        """Switch the simulated eavesdropper of a demonstration line; fraction 0 switches it off."""
        return _view(views.Line, self._post(f"lines/{line}/eavesdropper", {"kind": kind, "fraction": fraction}))

    def pause(self, line: str) -> views.Line:
        """Make no more blocks; delivery goes on."""
        return _view(views.Line, self._post(f"lines/{line}/pause", {}))

    def resume(self, line: str) -> views.Line:
        """Make blocks again."""
        return _view(views.Line, self._post(f"lines/{line}/resume", {}))

    def recover(self, line: str) -> views.Line:
        """Try a block now although an alarm stands."""
        return _view(views.Line, self._post(f"lines/{line}/recover", {}))

    def sync(self, line: str) -> views.SyncReport:
        """Compare the stocks of both ends now."""
        return _view(views.SyncReport, self._post(f"lines/{line}/sync", {}))

    def set_policy(self, line: str, policy: str, *, act: str) -> views.Line:
        """Keep a policy; act: reference to the signed decision of two people."""
        return _view(views.Line, self._post(f"lines/{line}/policy", {"policy": policy, "act": act}))

    def rekey(self, line: str, *, reason: str) -> int:
        """Revoke every undelivered key of a line at both ends; how many there were here."""
        return int(self._post(f"lines/{line}/rekey", {"reason": reason})["revoked"])

    def forecast(self, line: str) -> views.Forecast:
        """How long the stock lasts."""
        return _view(views.Forecast, self._get(f"lines/{line}/forecast"))

    def import_file(self, line: str, name: str) -> views.Line:
        """Offer a file of the site's `inbox/` to a line whose source is `imported`."""
        return _view(views.Line, self._post(f"lines/{line}/import", {"file": name}))

    def revoke(self, line: str, *, key_ids: Sequence[str] = (), block: int = -1, reason: str) -> int:
        """Revoke keys, or a block, at both ends; how many changed here."""
        return self._withdraw("revoke", line, key_ids, block, reason)

    def quarantine(self, line: str, *, key_ids: Sequence[str] = (), block: int = -1, reason: str) -> int:
        """Quarantine keys, or a block, at both ends; how many changed here."""
        return self._withdraw("quarantine", line, key_ids, block, reason)

    def key(self, key_id: str) -> views.Key:
        """One key without its value."""
        return _view(views.Key, self._get(f"keys/{quote(key_id, safe='')}"))

    def consume(self, key_ids: Sequence[str], *, sae: str, purpose: str, reference: str) -> int:
        """This SAE has made its session key of these keys; how many changed."""
        body = {"key_ids": list(key_ids), "sae": sae, "purpose": purpose, "reference": reference}
        return int(self._post("keys/consume", body)["changed"])

    def record_use(self, key_id: str, *, purpose: str, reference: str) -> None:
        """One more thing that a key protects."""
        self._post("keys/use", {"key_id": key_id, "purpose": purpose, "reference": reference})

    def leak_report(self, key_id: str) -> views.LeakReport:
        """What a key protected."""
        return _view(views.LeakReport, self._get(f"keys/{quote(key_id, safe='')}/leak"))

    def applications(self) -> views.Applications:
        """Applications of the site, withdrawn ones included."""
        return _view(views.Applications, self._get("applications"))

    def register_application(self, wanted: Mapping[str, Any], *, act: str) -> views.Application:
        """Take one in. wanted: members of key-delivery.md section 7; Refused APPLICATION_KNOWN, APPLICATION_TAKEN."""
        return _view(views.Application, self._post("applications/register", {**wanted, "act": act}))

    def set_application(self, wanted: Mapping[str, Any], *, act: str) -> views.Application:
        """Change what a registered one may do; certificate "" keeps its own. NotFound NO_APPLICATION."""
        return _view(views.Application, self._post("applications/set", {**wanted, "act": act}))

    def withdraw_application(self, application: str, *, act: str) -> views.ApplicationWithdrawn:
        """Admit it no more; keys that wait for its far applications are revoked. Doing it again changes nothing."""
        return _view(views.ApplicationWithdrawn, self._post("applications/withdraw", {"application": application, "act": act}))

    def charges(self) -> list[views.ChargePool]:
        """Charge pools of all persons."""
        return _views(views.ChargePool, self._get("charges"), "pools")

    def fill_charges(
        self, *, person: str, device: str, line: str, count: int, low_water: int, after: int, passphrase: str
    ) -> views.ChargeFilling:
        """Fresh charge keys for a medium, as a file under its person's passphrase, given out this once.

        after: last counter of the pool as it was seen, 0 for a new one. Refused CHARGE_MOVED where it is another.
        """
        body = {
            "person": person, "device": device, "line": line, "count": count, "low_water": low_water, "after": after,
            "passphrase": passphrase,
        }  # fmt: skip
        return _view(views.ChargeFilling, self._post("charges/fill", body))

    def deliver_under_charge(
        self, *, person: str, device: str, line: str, sae: str, slave: str, origins: Sequence[str] = ()
    ) -> views.ChargeDelivery:
        """A fresh key of the line, sealed under the medium's next charge key; the far site's SAE gets it by its id.

        sae: of this site, master of the key; slave: of the far site. origins: keys of these origins only, () for any.
        """
        body = {"person": person, "device": device, "line": line, "sae": sae, "slave": slave, "origins": list(origins)}
        return _view(views.ChargeDelivery, self._post("charges/deliver", body))

    def end_charge_session(self, session_key_id: str) -> bool:
        """A session whose key was delivered under a charge key is over; False when it was not live."""
        return bool(self._post("charges/end", {"session_key_id": session_key_id})["ended"])

    def revoke_charges(self, *, person: str, device: str = "", reason: str) -> views.ChargesRevoked:
        """Destroy the mirrors of a person, or of a device, for good. device: "" for all of the person's; doing it again does nothing."""
        answer = self._post("charges/revoke", {"person": person, "device": device, "reason": reason})
        return _view(views.ChargesRevoked, answer)

    def devices(self) -> list[views.Device]:
        """What wraps values at this site, with what lies under each. Cost there: about a second for a million values."""
        return _views(views.Device, self._get("devices"), "devices")

    def add_device(self, name: str, *, backend: str = "soft") -> views.Device:
        """Another device, from now on; nothing stops meanwhile."""
        return _view(views.Device, self._post("devices", {"name": name, "backend": backend}, timeout_s=SLOW_S))

    def drain_device(self, name: str) -> int:
        """Bring what a device wrapped to the others and take it away; how many values."""
        return int(self._post("devices/drain", {"name": name}, timeout_s=SLOW_S)["moved"])

    def self_test(self) -> views.SelfTest:
        """Run all known answers now."""
        return _view(views.SelfTest, self._post("selftest", {}))

    def last_self_test(self) -> views.SelfTest:
        """The newest run."""
        return _view(views.SelfTest, self._get("selftest"))

    def self_tests(self, *, limit: int = 100) -> list[views.Check]:
        """The checks that were made, newest first."""
        return _views(views.Check, self._get(f"selftest/checks?limit={limit}"), "checks")

    def simulate(
        self, *, preset: str, pulses: int, kind: str = "intercept-resend", fraction: float = 0.0, seed: bytes = b""
    ) -> views.Block:
        """A rehearsal of one block in the KME's memory; no key is kept. seed: 32 bytes, or empty for a random one."""
        body = {"preset": preset, "pulses": pulses, "kind": kind, "fraction": fraction, "seed": seed.hex()}
        return _view(views.Block, self._post("simulate", body, timeout_s=120.0))

    def close(self) -> None:
        """Close the kept connections."""
        self._caller.close()

    def _withdraw(self, verb: str, line: str, key_ids: Sequence[str], block: int, reason: str) -> int:
        what: dict[str, Any] = {"block": block} if block >= 0 else {"key_ids": list(key_ids)}
        return int(self._post(f"keys/{verb}", {"line": line, **what, "reason": reason})["changed"])

    def _get(self, path: str) -> dict[str, Any]:
        return self._value(self._caller.call("GET", f"/management/v1/{path}", timeout_s=self._timeout_s))

    def _post(self, path: str, body: Mapping[str, Any], *, timeout_s: float = 0.0) -> dict[str, Any]:
        data = json.dumps(body).encode()
        return self._value(
            self._caller.call("POST", f"/management/v1/{path}", data, timeout_s=timeout_s or self._timeout_s)
        )

    @staticmethod
    def _value(reply: Reply) -> dict[str, Any]:
        if reply.status == 200:
            return _object(reply.body)
        value = _object(reply.body)
        code, zh, en = (_clean(str(value.get(name, ""))) for name in ("code", "zh", "en"))
        details = value.get("details")
        plain = {str(name): _clean(str(one)) for name, one in details.items()} if isinstance(details, dict) else {}
        raise _KINDS.get(reply.status, Refused)(
            zh or "密钥管理实体拒绝了请求",
            en or "the key-management entity refused the request",
            code=code if _CODE.fullmatch(code) else "KME_REFUSED",
            details=plain,
        )


def _caller(address: str, credentials: Credentials) -> Caller:
    own = credentials.certificate, credentials.private_key, credentials.authority

    def context() -> ssl.SSLContext:
        if credentials.fingerprint:
            return foreign_context(*own, fingerprint=credentials.fingerprint)
        return client_context(*own, kme=credentials.kme)

    return Caller(address, context, name=credentials.kme)


def _path(sae: str) -> str:
    return quote(sae, safe="")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    if not isinstance(value, dict):
        raise _malformed()
    return value


def _parse_keys(value: Mapping[str, Any], size: int) -> list[ReceivedKey]:
    """The keys of a container. size: bytes each must have; 0 for any."""
    keys: list[ReceivedKey] = []
    container = value.get("key_container_extension", {})
    if not isinstance(container, dict):
        raise _malformed()
    try:
        for one in value["keys"] if "keys" in value else value["Keys"]:  # Table 11 of the standard prints the latter
            key_id, data = str(one["key_ID"]).lower(), base64.b64decode(one["key"], validate=True)
            extension = one.get("key_extension", {})
            if (
                not _UUID.fullmatch(key_id)
                or not data
                or (size and len(data) != size)
                or not isinstance(extension, dict)
            ):
                raise _malformed()
            keys.append(ReceivedKey(key_id, data, extension, container))
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise _malformed() from error
    if len({one.key_id for one in keys}) != len(keys):
        raise _malformed()
    return keys


def _refusal_014(reply: Reply) -> WorkbenchError:
    """The standard's error object as an error of this side; its text is untrusted, so it is cut and stripped."""
    try:
        value = _object(reply.body)
    except PeerError:
        value = {}  # 401 has no body in the standard
    message = _clean(str(value.get("message", ""))) or f"status {reply.status}"
    details: dict[str, str] = {"status": str(reply.status)}
    if reply.retry_after_s:
        details["retry_after_s"] = str(reply.retry_after_s)
    listed = value.get("details")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            details |= {_clean(str(name)): _clean(str(found)) for name, found in one.items()}
    stated = details.pop("code", "")
    code = stated if _CODE.fullmatch(stated) else ""
    zh = f"密钥管理实体拒绝了请求：{details.pop('zh', '') or message}"
    en = f"the key-management entity refused the request: {message}"
    if reply.status == 503:
        return KeyUnavailable(zh, en, code=code or "KME_UNAVAILABLE", details=details)
    if reply.status == 401:
        return Refused(zh, en, code="SAE_NOT_NAMED", details=details)
    if reply.status == 400:
        return InvalidRequest(zh, en, code=code or "KME_REFUSED", details=details)
    return PeerError(zh, en, code="KME_REFUSED", details=details)


def _malformed() -> PeerError:
    return PeerError(
        "密钥管理实体的回答不合标准：请运维人员核对其版本",
        "the key-management entity's answer does not follow the standard: operators must check its version",
        code="KME_MALFORMED",
    )


def _view(kind: type[V], value: Any) -> V:  # Any: parsed JSON
    try:
        return views.from_json(kind, value)
    except (ValueError, TypeError) as error:
        raise _malformed() from error


def _views(kind: type[V], value: Mapping[str, Any], name: str) -> list[V]:
    listed = value.get(name)
    if not isinstance(listed, list):
        raise _malformed()
    return [_view(kind, one) for one in listed]


def _clean(text: str) -> str:
    return _INVISIBLE.sub(" ", text)[:300]
