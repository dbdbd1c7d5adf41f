"""A workspace on disk: one folder for each institution that this machine runs, each with its own keys and database.

    DIR/workspace.json            kind, project, parties in order
    DIR/PARTY/                    0700
        node.json                 addresses and channel        settings.json   values of settings
        keys/                     InstitutionKeys              vault.key       wrapped vault key
        passphrase                0600, demo and test only     signins.json    0600, demo and test only
        first-password-NAME.txt   0600, production only: one-time password of one person, removed once it was changed
        evidence.db               everything the node stores   run/            pid, log and address while it runs

Demo and test workspaces are one trust domain: one user of the operating system owns every institution (decision 19).
"""

from __future__ import annotations

import ipaddress
import json
import os
import secrets
import socket
import stat
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.domain.checkpoint import origin_of
from workbench.domain.party import PartyId, Role, parse_party_id
from workbench.errors import NotFound, Refused, StartRefused
from workbench.node import first_passwords
from workbench.node import keys as institution_keys
from workbench.node.keys import InstitutionKeys
from workbench.store.vault_key import create_vault_key, unlock_vault_key

if TYPE_CHECKING:
    from workbench.host import Workbench

KINDS = ("demo", "test", "production")
DEFAULT_PARTIES = ("broker", "cardnet", "bank")
KNOWN_NAMES = {
    "broker": ("甲证券", "Jia Securities"),
    "bank": ("乙银行", "Yi Bank"),
    "cardnet": ("丙卡组织", "Bing Card Network"),
    "telecom": ("丁云", "Ding Cloud"),
}
STAFF_ROLES: tuple[tuple[str, str, tuple[Role, ...]], ...] = (
    ("marketing", "营销 01", (Role.MARKETING,)),
    ("approver", "审批 01", (Role.APPROVER,)),
    ("compliance", "合规 01", (Role.COMPLIANCE,)),
    ("operator", "运维 01", (Role.OPERATOR,)),
    ("auditor", "审计 01", (Role.AUDITOR,)),
    ("regulator", "监管 01", (Role.REGULATOR,)),
    ("admin", "管理 01", (Role.ADMIN,)),
)
ADVISER_STAFF: tuple[tuple[str, str, tuple[Role, ...]], ...] = (("adviser", "投顾 01", (Role.ADVISER,)),)
"""Of an institution that rents sandboxes, beside the others."""
PROVIDER_STAFF: tuple[tuple[str, str, tuple[Role, ...]], ...] = (
    ("provider-operator", "算力运维 01", (Role.PROVIDER_OPERATOR,)),
    ("operator", "运维 01", (Role.OPERATOR,)),
    ("auditor", "审计 01", (Role.AUDITOR,)),
    ("admin", "管理 01", (Role.ADMIN,)),
)
"""Of an institution that rents sandboxes out: it has no customers. The operator runs its node and its lines."""
FORMAT = "workbench/v1/workspace"


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node listens: staff API on loopback, peer API for partners."""

    staff_host: str
    staff_port: int
    peer_host: str
    peer_port: int
    channel: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """An existing workspace. parties: those this machine runs, in the order of their creation; providers: the last of them."""

    folder: Path
    kind: str
    project: str
    parties: tuple[PartyId, ...]
    providers: tuple[PartyId, ...] = ()

    @property
    def exchanging(self) -> tuple[PartyId, ...]:
        """Those with customer lists: all but the providers of computing."""
        return tuple(one for one in self.parties if one not in self.providers)

    @property
    def tenant(self) -> PartyId | None:
        """Who rents from the providers: the broker, else the first; None without a provider."""
        if not self.providers:
            return None
        return PartyId("broker") if "broker" in self.exchanging else self.exchanging[0]

    def staff(self, party: str) -> tuple[tuple[str, str, tuple[Role, ...]], ...]:
        """(account, name, roles) of the people of an institution in a demo or test workspace."""
        if party in self.providers:
            return PROVIDER_STAFF
        return (*STAFF_ROLES, *ADVISER_STAFF) if party == self.tenant else STAFF_ROLES

    def node_folder(self, party: str) -> Path:
        """The folder of one institution; Refused when this workspace does not run it."""
        if party not in self.parties:
            known = "、".join(self.parties)
            raise Refused(
                f"工作区里没有机构「{party[:40]}」。现有：{known}",
                f"This workspace has no party of that name. It has: {', '.join(self.parties)}",
                code="UNKNOWN_PARTY",
            )
        return self.folder / party

    def address(self, party: str) -> NodeAddress:
        return NodeAddress(**json.loads((self.node_folder(party) / "node.json").read_text("utf-8")))

    def sign_in(self, party: str, role: Role) -> tuple[str, str]:
        """(account, password) of the demo person of a role; Refused outside demo and test workspaces."""
        path = self.node_folder(party) / "signins.json"
        if self.kind == "production" or not path.exists():
            raise Refused(
                "生产工作区没有演示账号，请登录", "A production workspace has no demo accounts; sign in", code="NO_DEMO_SIGN_IN"
            )
        people = json.loads(path.read_text("utf-8"))
        return role.value, people[role.value]


def load_workspace(folder: Path) -> Workspace:
    """Read an existing workspace; NotFound when there is none."""
    try:
        value = json.loads((folder / "workspace.json").read_text("utf-8"))
    except FileNotFoundError:
        raise NotFound(
            f"「{folder.name}」里没有工作区。先运行 workbench init",
            f"There is no workspace in {folder.name}. Run workbench init first",
            code="NO_WORKSPACE",
        ) from None
    if value.get("v") != FORMAT:
        raise StartRefused("工作区的格式不认识", "The workspace has an unknown format", code="UNKNOWN_FORMAT")
    parties, providers = (tuple(PartyId(name) for name in value.get(part, ())) for part in ("parties", "providers"))
    return Workspace(folder, value["kind"], value["project"], parties, providers)


def create_workspace(
    folder: Path,
    *,
    kind: str,
    parties: Sequence[str] = DEFAULT_PARTIES,
    project: str = "",
    passphrase: str = "",
    peer_host: str = "",
    providers: Sequence[str] = (),
) -> Workspace:
    """Make folders, keys, databases, people and the allow-list of all parties.

    providers: further members that rent sandboxes out and exchange no list; what both ends need to know of it is set.
    project: name that all institutions share and that heads every checkpoint; drawn at random when empty.
    passphrase: for production; demo and test draw one for each party and keep it in a 0600 file. peer_host: IP address
    at which partners on other machines reach the peer APIs, and from which these call; loopback when empty.
    Refused when a workspace exists here already. Nothing is left behind when it fails half way.
    """
    if (folder / "workspace.json").exists():
        raise Refused("这里已有工作区", "There is a workspace here already", code="WORKSPACE_EXISTS")
    if kind not in KINDS:
        raise Refused("不认识的工作区性质", "Unknown kind of workspace", code="UNKNOWN_KIND")
    names = _parsed_parties([*parties, *providers])
    if kind == "production" and len(passphrase) < 12:
        raise Refused(
            "生产工作区须给出至少 12 个字符的口令", "A production workspace needs a passphrase of 12 characters or more",
            code="NO_PASSPHRASE",
        )  # fmt: skip
    if peer_host:
        _require_ip_address(peer_host)
    name_of_project = project or f"p-{secrets.token_hex(4)}"
    _require_project(name_of_project)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(folder, 0o700)
    workspace = Workspace(folder, kind, name_of_project, names, names[len(parties) :])
    made = [_create_node(workspace, name, number, passphrase, peer_host) for number, name in enumerate(names)]
    bundles = {keys.party: institution_keys.format_bundle(keys.bundle) for keys in made}
    for name in names:
        _populate_node(workspace, name, [bundle for party, bundle in bundles.items() if party != name], passphrase)
    told: dict[str, Any] = {"v": FORMAT, "kind": kind, "project": workspace.project, "parties": list(names)}
    if workspace.providers:
        told["providers"] = list(workspace.providers)
    _write_private(folder / "workspace.json", json.dumps(told, ensure_ascii=False, indent=1))
    return workspace


def open_node(workspace: Workspace, party: str, *, passphrase: str = "") -> Workbench:
    """The node of one party as an object, not yet started. Refuses folders that others may enter outside demo."""
    from workbench.host import Workbench  # a command that only reads where the nodes are needs none: half its start

    folder = workspace.node_folder(party)
    if workspace.kind == "production":
        require_private(folder)
        require_trusted_program(workspace.folder / ".compiled")
    secret = passphrase or _stored_passphrase(workspace, party)
    settings_path = folder / "settings.json"
    settings = read_json(settings_path) if settings_path.exists() else {}
    keys = institution_keys.load(folder / "keys", secret)
    if settings.get("ledger.mldsa") is True:  # docs/protocols/ledger.md section 1: made when it is turned on
        keys = institution_keys.add_mldsa(keys, folder / "keys", secret, now=datetime.now(UTC))
    return Workbench(
        folder=folder,
        kind=workspace.kind,
        project=workspace.project,
        keys=keys,
        vault_key=unlock_vault_key(folder / "vault.key", secret),
        settings=settings,
    )


def require_private(folder: Path) -> None:
    """StartRefused when anybody but this user can enter the node's folder or owns it (decision 19)."""
    status = folder.stat()
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or status.st_uid != os.getuid():
        raise StartRefused(
            "节点目录对他人开放，不启动。运维改为仅本用户可进（0700）",
            "The node's folder is open to others; it does not start. Operations set it to 0700",
            code="FOLDER_OPEN",
        )


def require_trusted_program(compiled: Path) -> None:
    """StartRefused when others may write the program, its libraries or the compiled code it loads (decision 19).

    Looked at: the interpreter's folders, and of every module and plugin that has been imported its file and every folder
    down from the place on the module path where it was found. Cost: about 20 ms.
    """
    places = {Path(sys.prefix), Path(sysconfig.get_path("purelib")), compiled, *_imported_places()}
    for path in sorted(places):
        if path.exists() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            kind_zh, kind_en = ("目录", "folder") if path.is_dir() else ("文件", "file")
            name = f"{path.parent.name}/{path.name}"
            raise StartRefused(
                f"程序{kind_zh}「{name}」可被他人改写，不启动。运维收回写权限",
                f"Others may write the program {kind_en} {name}; it does not start. Operations take that right away",
                code="PROGRAM_OPEN",
            )


def _imported_places() -> set[Path]:
    """Files of all imported modules, with the folders between each and the place on the module path it came from."""
    roots = {Path(one).resolve() for one in sys.path if one}
    places: set[Path] = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file:
            continue
        path = Path(file).resolve()
        above = list(path.parents)
        known = next((number for number, folder in enumerate(above) if folder in roots), 0)
        places |= {path, *above[: known + 1]}  # found in another way than the module path: its own folder at least
    return places


def free_ports(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Replace ports that are taken, in demo and test workspaces; returns party -> (old, new) for what changed.

    Call only while no node runs: a new peer port means a newly signed bundle, which two demo people of every partner
    pin again.
    """
    changed: dict[str, tuple[int, int]] = {}
    for party in workspace.parties:
        address = workspace.address(party)
        staff = _port_or_other(address.staff_host, address.staff_port)
        peer = _port_or_other(address.peer_host, address.peer_port)
        if peer != address.peer_port:
            _move_peer(workspace, party, peer)
            changed[f"{party} peer"] = (address.peer_port, peer)
        if staff != address.staff_port:
            changed[f"{party} staff"] = (address.staff_port, staff)
        if (staff, peer) != (address.staff_port, address.peer_port):
            moved = NodeAddress(address.staff_host, staff, address.peer_host, peer, address.channel)
            _write_private(workspace.node_folder(party) / "node.json", json.dumps(asdict(moved), indent=1))
    return changed


def _parsed_parties(parties: Sequence[str]) -> tuple[PartyId, ...]:
    try:
        names = tuple(parse_party_id(name) for name in parties)
    except ValueError as error:
        raise Refused("机构名只用小写字母、数字和短横", str(error), code="BAD_PARTY") from error
    if len(set(names)) != len(names) or not names:
        raise Refused("机构名重复或为空", "Party names repeat or are missing", code="BAD_PARTY")
    return names


def _require_ip_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise Refused("对外地址须为 IP 地址", "The address for partners must be an IP address", code="BAD_ADDRESS") from None


def _require_project(name: str) -> None:
    try:
        origin_of(name, PartyId("broker"))
    except ValueError as error:
        raise Refused("项目名只用小写字母、数字和短横，以字母开头", str(error), code="BAD_PROJECT") from error


def _create_node(workspace: Workspace, party: PartyId, number: int, passphrase: str, peer_host: str) -> InstitutionKeys:
    folder = workspace.folder / party
    folder.mkdir(mode=0o700)
    secret = passphrase
    if workspace.kind != "production":
        secret = secrets.token_urlsafe(24)
        _write_private(folder / "passphrase", secret)
    host = _loopback(workspace.project, number)
    staff_port, peer_port = 8800 + number, 8900 + number
    zh, en = KNOWN_NAMES.get(party, (party, party))
    made = InstitutionKeys.create(
        party, name_zh=zh, name_en=en, host=peer_host or host, port=peer_port, more_hosts=("localhost",), now=datetime.now(UTC)
    )
    institution_keys.save(made, folder / "keys", secret)
    create_vault_key(folder / "vault.key", secret)
    address = NodeAddress(host, staff_port, peer_host or host, peer_port, "mutual-tls")
    _write_private(folder / "node.json", json.dumps(asdict(address), indent=1))
    _write_private(folder / "settings.json", json.dumps(_first_settings(workspace, party), indent=1))
    return made


def _first_settings(workspace: Workspace, party: PartyId) -> dict[str, Any]:
    """What an institution is for the sandbox, where there is a provider."""
    if party in workspace.providers:
        return {"inference.role": "provider"}
    return {"inference.role": "tenant", "inference.provider": workspace.providers[0]} if party == workspace.tenant else {}


def _populate_node(workspace: Workspace, party: PartyId, bundles: Sequence[bytes], passphrase: str) -> None:
    node = open_node(workspace, party, passphrase=passphrase)
    try:
        wanted = workspace.staff(party) if workspace.kind != "production" else PRODUCTION_STAFF
        passwords = {name: first_passwords.generate(node.random) for name, _, _ in wanted}
        is_real = workspace.kind == "production"
        first_until_ms = node.now_ms() + node.setting("people.first_password_hours") * first_passwords.HOUR_MS
        made = {
            name: node.people.add(
                person=name,
                display_name=shown,
                roles=roles,
                password=passwords[name],
                first_until_ms=first_until_ms if is_real else None,
            )
            for name, shown, roles in wanted
        }
        if is_real:  # one file for each of them: they are two people
            for name, password in passwords.items():
                first_passwords.write(node.folder, account=name, password=password, until_ms=first_until_ms)
        else:
            _write_private(node.folder / "signins.json", json.dumps(passwords, indent=1))
            node.partners.enrol(bundles, proposed_by=made["operator"], approved_by=made["admin"])
    finally:
        node.close()


PRODUCTION_STAFF: tuple[tuple[str, str, tuple[Role, ...]], ...] = (
    ("admin1", "管理员 1", (Role.ADMIN,)),
    ("admin2", "管理员 2", (Role.ADMIN,)),
)
"""The first two people of a production node; they enrol everybody else. Their first passwords open nothing but their change."""


def _move_peer(workspace: Workspace, party: PartyId, port: int) -> None:
    node = open_node(workspace, party)
    try:
        moved = node.keys.with_address(host=node.keys.bundle.host, port=port, now=datetime.now(UTC))
        institution_keys.replace_bundle(moved, node.folder / "keys")
    finally:
        node.close()
    bundle = institution_keys.format_bundle(moved.bundle)
    for other in workspace.parties:
        if other == party:
            continue
        partner = open_node(workspace, other)
        try:
            people = {str(one.person): one for one in partner.people.everyone()}
            partner.partners.enrol([bundle], proposed_by=people["operator"], approved_by=people["admin"])
        finally:
            partner.close()


def _stored_passphrase(workspace: Workspace, party: str) -> str:
    path = workspace.node_folder(party) / "passphrase"
    if not path.exists():
        raise StartRefused(
            "需要口令才能打开密钥与保险库", "A passphrase is needed to open keys and vault", code="NO_PASSPHRASE"
        )
    return path.read_text("utf-8").strip()


def _loopback(project: str, number: int) -> str:
    """A loopback address of its own for each demo party: browsers' cookies ignore ports (decision 21)."""
    seed = sum(project.encode()) * 7919 % 200
    return f"127.{20 + seed}.{1 + seed % 250}.{11 + number}"


def _port_or_other(host: str, port: int) -> int:
    for candidate in (port, 0):
        with socket.socket() as probe:
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise StartRefused("没有可用的端口", "There is no free port", code="NO_PORT")


def _write_private(path: Path, text: str) -> None:
    """Write through a temporary file of mode 0600, so that a crash leaves the old content or the new."""
    staged = path.with_name(path.name + ".new")
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    staged.replace(path)


def read_json(path: Path) -> Any:
    """A small JSON file of the workspace."""
    return json.loads(path.read_text("utf-8"))
