"""Operations about people: accounts and who am I."""

from __future__ import annotations

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.party import ROLE_NAMES, Person, Role
from workbench.errors import Denied, InvalidRequest, StorageFailed
from workbench.node import first_passwords
from workbench.node.first_passwords import HOUR_MS
from workbench.operations import NoInput, Operation, Reply, Request


class PersonInfo(Reply):
    """roles: codes; role_names: pairs of Chinese and English names. until_ms: when the account ends by itself."""

    person: str
    party: str
    display_name: str
    token: str
    roles: list[str]
    role_names: list[tuple[str, str]]
    until_ms: int | None = None


class WaitingPerson(Reply):
    """An account that a second administrator has yet to confirm; added_by: who added it, by display name."""

    person: PersonInfo
    added_by: str


class PeopleReply(Reply):
    people: list[PersonInfo]
    waiting: list[WaitingPerson] = []


class WhoAmI(Reply):
    """The signed-in person, the institution's names, the kind of workspace, and the operations open to them.

    parties, former: (id, Chinese, English) of the institutions of today, and of those that have left.
    """

    me: PersonInfo
    party_zh: str
    party_en: str
    workspace: str
    kernel: bool
    parties: list[tuple[str, str, str]]
    former: list[tuple[str, str, str]]
    purposes: dict[str, tuple[str, str]]
    operations: list[str]


class AddedPerson(PersonInfo):
    """first_password_file: name of the file in the node's folder that holds the one-time password; "" for a given password."""

    first_password_file: str = ""


class AddPerson(Request):
    """until_ms: when the account ends by itself; a regulator's ends after 90 days without it.

    password: for demo and test workspaces only. Without it the node makes a one-time password and writes it to a file for
    that person; nobody who adds or confirms the account sees it.
    """

    person: str = Field(pattern="^[a-z][a-z0-9._-]{1,30}$")
    display_name: str = Field(min_length=1, max_length=60)
    roles: list[Role] = Field(min_length=1)
    password: str = Field(default="", max_length=256, repr=False)
    until_ms: int | None = Field(default=None, ge=0)


class ExtendPerson(Request):
    """until_ms: when the account ends from now on."""

    person: str
    until_ms: int = Field(ge=0)


class ConfirmPerson(Request):
    """person: an account that another administrator added."""

    person: str


class DisablePerson(Request):
    person: str


class ChangePassword(Request):
    """password: the new one; the old one is asked for by the confirmation."""

    password: str = Field(max_length=256, repr=False)


class Done(Reply):
    done: bool = True


def person_info(person: Person) -> PersonInfo:
    roles = sorted(person.roles)
    return PersonInfo(
        person=person.person,
        party=person.party,
        display_name=person.display_name,
        token=person.token,
        roles=[role.value for role in roles],
        role_names=[ROLE_NAMES[role] for role in roles],
        until_ms=person.until_ms,
    )


def _me(ctx: OperationContext, request: NoInput) -> WhoAmI:
    host = ctx.host
    zh, en = host.names(host.party)
    allowed = [
        operation.name
        for operation in host.gate.registry
        if operation.roles & ctx.caller.person.roles and (operation.weak_token or not ctx.caller.kernel) and not operation.machines
    ]
    return WhoAmI(
        me=person_info(ctx.caller.person),
        party_zh=zh,
        party_en=en,
        workspace=host.kind,
        kernel=ctx.caller.kernel,
        parties=[(party, *host.names(party)) for party in host.parties()],
        former=[(party, *host.names(party)) for party in host.former_parties() if party not in host.parties()],
        purposes=host.purposes(),
        operations=allowed,
    )


def _all(ctx: OperationContext, request: NoInput) -> PeopleReply:
    people = ctx.host.people
    waiting = [WaitingPerson(person=person_info(one), added_by=people.named(by)) for one, by in people.waiting()]
    return PeopleReply(people=[person_info(one) for one in people.everyone()], waiting=waiting)


def _add(ctx: OperationContext, request: AddPerson) -> AddedPerson:
    """Outside demo and test nobody gives a password, and another administrator confirms the account.

    Raises InvalidRequest PASSWORD_GIVEN, StorageFailed FIRST_PASSWORD_NOT_WRITTEN (then the account exists).
    """
    host = ctx.host
    is_real = host.kind == "production"
    if is_real and request.password:
        raise InvalidRequest(
            "一次性密码由节点生成，请不要填密码", "The node makes the one-time password; give none", code="PASSWORD_GIVEN"
        )
    password = request.password or first_passwords.generate(host.random)
    first_until_ms = host.now_ms() + host.setting("people.first_password_hours") * HOUR_MS
    made = host.people.add(
        person=request.person,
        display_name=request.display_name,
        roles=request.roles,
        password=password,
        by=ctx.caller.person.token,
        until_ms=request.until_ms,
        first_until_ms=None if request.password else first_until_ms,
        waits=is_real,
    )
    info = person_info(made).model_dump()
    if request.password:
        return AddedPerson(**info)
    try:  # after the account exists: a name that is taken must not lose the file of its owner
        path = first_passwords.write(host.folder, account=request.person, password=password, until_ms=first_until_ms)
    except OSError as error:
        raise StorageFailed(
            "账号已新增，但一次性密码没有写成文件。请运维清理磁盘后用 workbench first-password 重新签发",
            "The account was added, but the file of its one-time password was not written. Operations make room and issue another"
            " one with workbench first-password",
            code="FIRST_PASSWORD_NOT_WRITTEN",
        ) from error
    return AddedPerson(**info, first_password_file=path.name)


def _confirm(ctx: OperationContext, request: ConfirmPerson) -> PersonInfo:
    return person_info(ctx.host.people.confirm_account(request.person, by=ctx.caller))


def _extend(ctx: OperationContext, request: ExtendPerson) -> PersonInfo:
    return person_info(ctx.host.people.extend(request.person, until_ms=request.until_ms, by=ctx.caller))


def _disable(ctx: OperationContext, request: DisablePerson) -> Done:
    if request.person == ctx.caller.person.person:
        raise Denied("不能停用自己的账号", "Nobody disables their own account", code="SELF_APPROVAL")
    admins = [one.person for one in ctx.host.people.everyone() if Role.ADMIN in one.roles]
    if ctx.host.kind == "production" and request.person in admins and len(admins) <= 2:
        raise Denied(
            "正式环境至少要有两位管理员，先新增并确认一位再停用",
            "A production node needs two administrators: add and confirm another one first",
            code="LAST_ADMINISTRATORS",
        )
    host = ctx.host
    host.people.disable(request.person, by=ctx.caller)
    first_passwords.remove(host.folder, request.person, now_ms=host.now_ms())
    return Done()


def _change_password(ctx: OperationContext, request: ChangePassword) -> Done:
    host = ctx.host
    host.people.change_password(ctx.caller, request.password)
    first_passwords.remove(host.folder, ctx.caller.person.person, now_ms=host.now_ms())
    return Done()


PEOPLE_OPERATIONS = (
    Operation(
        name="people.me",
        zh="我是谁",
        en="who am I",
        request=NoInput,
        reply=WhoAmI,
        roles=frozenset(Role),
        run=_me,
        weak_token=True,
        reads_only=True,
    ),
    Operation(
        name="people.all",
        zh="查看账号",
        en="read the accounts",
        request=NoInput,
        reply=PeopleReply,
        roles=frozenset({Role.ADMIN, Role.AUDITOR, Role.COMPLIANCE}),
        run=_all,
        reads_only=True,
    ),
    Operation(
        name="people.change_password",
        zh="更换自己的密码",
        en="change one's own password",
        request=ChangePassword,
        reply=Done,
        roles=frozenset(Role),
        run=_change_password,
        fresh_password=True,
        evidence=("people.password_changed", "people.first_password_changed"),
    ),
    *(
        Operation(
            name=f"people.{name}", zh=zh, en=en, request=request, reply=reply, roles=frozenset({Role.ADMIN}), run=run,
            fresh_password=True, evidence=(f"people.{kind}",),
        )
        for name, zh, en, request, reply, run, kind in (
            ("add", "新增账号", "add an account", AddPerson, AddedPerson, _add, "added"),
            ("confirm", "确认新增账号", "confirm an added account", ConfirmPerson, PersonInfo, _confirm, "confirmed"),
            ("extend", "延长账号期限", "extend an account", ExtendPerson, PersonInfo, _extend, "extended"),
            ("disable", "停用账号", "disable an account", DisablePerson, Done, _disable, "disabled"),
        )
    ),
)  # fmt: skip
