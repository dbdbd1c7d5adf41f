"""The source `device-014`: keys from a real pair of KMEs behind ETSI GS QKD 014. Provenance `device-014`.

Each end is a client of the device at its own site. The sender's end takes fresh keys and names their ids, the other
end fetches the same ones by id; a check over the values shows both that they hold the same. What the device did is its
word: nothing here measures it. A KME that says of its keys that they are no device's is believed, and none is taken.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from workbench.crypto import kdf
from workbench.errors import KeyUnavailable, WorkbenchError
from workbench_kme.service.client import Credentials, Ets014Client, ReceivedKey
from workbench_kme.sources.contract import BlockMachine, BlockTask, SourceContext, SourceWaiting
from workbench_kme.sources.messages import format_message, is_check, parse_message
from workbench_kme.sources.outcome import outcome

if TYPE_CHECKING:
    from pathlib import Path

    from workbench_kme.distill import BlockResult

MAX_BATCH = 128
_KEY_BYTES = 32
_STATEMENT = "workbench_provenance"
_SILENT = object()
_log = logging.getLogger(__name__)

_OPTIONS = {"address", "kme", "authority", "certificate", "key", "sae", "peer_sae", "batch"}
_PINNED = _OPTIONS | {"fingerprint"}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class Device014:
    """Options: `address` and `kme` id of the device, `authority` (PEM), `certificate` and `key` (files of the site's
    folder), `sae` and `peer_sae` (this end's and the other end's name at the devices), `batch` (keys of a block).

    A device of another make has no certificate with an id of ours: `fingerprint`, SHA-256 of its certificate, stands for it.
    """

    name: ClassVar[str] = "device-014"
    provenance: ClassVar[str] = "device-014"
    simulates: ClassVar[bool] = False

    def __init__(self, context: SourceContext) -> None:
        options = context.options
        batch = options.get("batch")
        texts = all(isinstance(options.get(name), str) and options[name] for name in _OPTIONS - {"batch"})
        fingerprint = options.get("fingerprint", "")
        if "fingerprint" in options and not (isinstance(fingerprint, str) and _FINGERPRINT.fullmatch(fingerprint)):
            raise ValueError("the fingerprint of a device's certificate has 64 small hexadecimal digits")
        if set(options) not in (_OPTIONS, _PINNED) or not texts or type(batch) is not int or not 1 <= batch <= MAX_BATCH:
            raise ValueError("a device line has the options " + ", ".join(sorted(_OPTIONS)))
        self._context, self._batch = context, batch
        self._client = Ets014Client(
            options["address"],
            Credentials(
                certificate=_inside(context.folder, options["certificate"]).read_bytes(),
                private_key=_inside(context.folder, options["key"]).read_bytes(),
                authority=options["authority"].encode("ascii"),
                kme=options["kme"],
                fingerprint=fingerprint,
            ),
        )

    @property
    def preset(self) -> str:
        """No modelled line."""
        return ""

    @property
    def clock_hz(self) -> float:
        """Unknown."""
        return 0.0

    def pulses(self) -> int:
        """Unknown. Raises SourceWaiting while the device has too few keys or does not answer."""
        try:
            stored = self._client.status(str(self._context.options["peer_sae"])).get("stored_key_count")
        except WorkbenchError as error:
            raise SourceWaiting("the device does not answer") from error
        if type(stored) is not int or stored < self._batch:
            raise SourceWaiting("the device has too few keys")
        return 0

    def machine(self, task: BlockTask) -> BlockMachine:
        """This end of a block: the sender takes keys and names them, the receiver fetches them."""
        peer = str(self._context.options["peer_sae"])
        if self._context.is_sender:
            return _Taking(self._client, peer, self._batch, task.block, self._context.tenant)
        return _Fetching(self._client, peer, self._batch, task.block, self._context.tenant)

    def keys_stored(self, block: int) -> None:
        """The device has forgotten them already."""

    def close(self) -> None:
        """Close the connections to the device."""
        self._client.close()


class _Taking:
    """Sender: takes keys, names them, compares the check."""

    def __init__(self, client: Ets014Client, peer: str, batch: int, block: int, tenant: str) -> None:
        self._client, self._peer, self._batch, self._block, self._tenant = client, peer, batch, block, tenant
        self._keys = b""
        self.result: BlockResult | None = None

    def begin(self) -> list[bytes]:
        """Take the keys and name them."""
        try:
            keys = self._client.get_keys(self._peer, number=self._batch)
        except KeyUnavailable as error:
            raise SourceWaiting("the device has no keys now") from error
        if not are_from_a_device(keys, self._tenant):
            # Without a key of this end the other one makes none of the block either.
            self.result = outcome(self._block, b"", "message-refused")
            return []
        self._keys = b"".join(one.value for one in keys)
        return [format_message("device-keys", key_IDs=[one.key_id for one in keys])]

    def receive(self, message: bytes) -> list[bytes]:
        """The other end's check."""
        if self.result is not None:
            return []
        said = parse_message(message, "device-check", {"check"})
        agreed = is_check(said.get("check"), check(self._keys, self._block))
        self.result = outcome(self._block, self._keys if agreed else b"", "" if agreed else "verification-failed")
        return [format_message("device-agreed" if agreed else "device-refused")]


class _Fetching:
    """Receiver: fetches what was named, sends its check, waits for the verdict."""

    def __init__(self, client: Ets014Client, peer: str, batch: int, block: int, tenant: str) -> None:
        self._client, self._peer, self._batch, self._block, self._tenant = client, peer, batch, block, tenant
        self._keys = b""
        self.result: BlockResult | None = None

    def begin(self) -> list[bytes]:
        """The sender speaks first."""
        return []

    def receive(self, message: bytes) -> list[bytes]:
        """The ids, then the verdict."""
        if self.result is not None:
            return []
        if self._keys:
            agreed = parse_message(message, "device-agreed", set()) != {}
            self.result = outcome(self._block, self._keys if agreed else b"", "" if agreed else "verification-failed")
            return []
        named = parse_message(message, "device-keys", {"key_IDs"}).get("key_IDs")
        try:
            if not isinstance(named, list) or not 1 <= len(named) <= self._batch:
                raise ValueError("no ids")
            keys = self._client.get_keys_by_id(self._peer, [str(one) for one in named])
            if not are_from_a_device(keys, self._tenant):
                raise ValueError("keys of another origin")
        except (ValueError, WorkbenchError):
            self.result = outcome(self._block, b"", "message-refused")
            return [format_message("device-check", check="")]
        self._keys = b"".join(one.value for one in keys)
        if len(self._keys) != _KEY_BYTES * len(keys):
            self.result = outcome(self._block, b"", "message-refused")
            return [format_message("device-check", check="")]
        return [format_message("device-check", check=check(self._keys, self._block))]


def are_from_a_device(keys: Iterable[ReceivedKey], tenant: str = "") -> bool:
    """Whether nothing that was said of these keys, or of the container they came in, calls them anything else or another tenant's.

    Saying nothing is in order: a device of another make knows no such statement. A statement that cannot be read, an
    origin other than `device-014` and a `quantum` other than true are not.
    """
    for one in keys:
        for stated in (one.extension.get(_STATEMENT, _SILENT), one.container.get(_STATEMENT, _SILENT)):
            if stated is _SILENT:
                continue
            if (
                not isinstance(stated, Mapping)
                or stated.get("origin") != Device014.provenance
                or stated.get("quantum", True) is not True
                or stated.get("tenant", tenant) != tenant
            ):
                _log.warning("the KME behind this line says that its keys are no device's, or another tenant's: the batch is refused")
                return False
    return True


def check(keys: bytes, block: int) -> str:
    """What shows that both ends hold the same keys, 64 hexadecimal digits; tells nothing of them."""
    return kdf.derive(keys, "kme/device-check", context=block.to_bytes(8, "big")).hex() if keys else ""


def _inside(folder: Path, name: str) -> Path:
    """A file of the site's folder and of no other. Raises ValueError."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise ValueError(f"{name} is no file of the site's folder")
    return path
