"""Synthetic customers and grants of three institutions, the same for the same seed; nobody in them is real.

Phone numbers start with 100, a prefix that no mainland carrier has; identity numbers with area codes 99xxxx, which are
not in use (decision 30). Keys and passwords never derive from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel

from workbench.contracts import OperationContext
from workbench.domain.party import Caller, Role
from workbench.host import Workbench
from workbench.workspace import Workspace, open_node

MARK = "合成数据 synthetic"
SIZES = {"broker": 1.0, "cardnet": 3.0, "bank": 1.5}
"""Customers of each institution as a multiple of the broker's; parties of other names get the broker's size."""

SHARED_BY_ALL = 0.075
SHARED_BY_TWO = 0.175
"""Shares of the broker's size: people known to all institutions, and further people known to each pair."""

NOTICE_DAYS = 365
"""Since when the notice of the demonstration counts as shown; the consents begin 200 days ago."""

SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜"
GIVEN = "安博成达恩芳光海佳康乐敏宁平琪然思涛文希雅泽志中"
CHECK_DIGITS = "10X98765432"
WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2])


@dataclass(frozen=True, slots=True)
class Universe:
    """All synthetic people: phone and id_no by number of the person."""

    phones: list[str]
    id_nos: list[str]
    names: list[str]


def make_universe(count: int, seed: int) -> Universe:
    """`count` people with distinct phones and identity numbers whose check digit is right (GB 11643)."""
    random = np.random.default_rng([seed, 1])
    phones = 10_000_000_000 + random.choice(99_999_999, count, replace=False)
    areas = 990_000 + random.integers(101, 999, count)
    days = (date(2005, 1, 1) - date(1950, 1, 1)).days
    births = [date(1950, 1, 1) + timedelta(days=int(day)) for day in random.integers(0, days, count)]
    orders = np.arange(count) % 1000
    stems = [f"{area}{birth:%Y%m%d}{order:03d}" for area, birth, order in zip(areas, births, orders, strict=True)]
    digits = np.frombuffer("".join(stems).encode(), np.uint8).reshape(count, 17) - 48
    checks = [CHECK_DIGITS[remainder] for remainder in (digits @ WEIGHTS) % 11]
    first, second = random.integers(0, len(SURNAMES), count), random.integers(0, len(GIVEN), (count, 2))
    names = [SURNAMES[a] + GIVEN[b] + GIVEN[c] for a, (b, c) in zip(first, second, strict=True)]
    return Universe([str(phone) for phone in phones], [s + c for s, c in zip(stems, checks, strict=True)], names)


def choose_people(parties: Sequence[str], customers: int, seed: int) -> tuple[int, dict[str, np.ndarray]]:
    """(number of people, person numbers of each party): a common core, one group per pair, the rest their own."""
    random = np.random.default_rng([seed, 2])
    next_person = 0

    def take(count: int) -> np.ndarray:
        nonlocal next_person
        next_person += count
        return np.arange(next_person - count, next_person)

    core = take(max(1, round(customers * SHARED_BY_ALL)))
    members: dict[str, list[np.ndarray]] = {party: [core] for party in parties}
    for index, one in enumerate(parties):
        for other in parties[index + 1 :]:
            group = take(round(customers * SHARED_BY_TWO))
            members[one].append(group)
            members[other].append(group)
    people = {}
    for party, groups in members.items():
        size = round(customers * SIZES.get(party, 1.0))
        own = take(max(0, size - sum(group.size for group in groups)))
        people[party] = random.permutation(np.concatenate([*groups, own]))
    return next_person, people


def customer_frame(party: str, people: np.ndarray, universe: Universe, seed: int) -> pl.DataFrame:
    """The customer list of one institution as its business systems would export it (headers in Chinese)."""
    random = np.random.default_rng([seed, 3, *party.encode()])
    count = people.size
    return pl.DataFrame(
        {
            "客户号": [f"{party[0].upper()}{number:07d}" for number in random.permutation(count)],
            "手机号": [universe.phones[person] for person in people],
            "身份证号": [universe.id_nos[person] for person in people],
            "姓名": [universe.names[person] for person in people],
            "风险等级": random.choice(["C1", "C2", "C3", "C4", "C5"], count, p=[0.1, 0.2, 0.35, 0.25, 0.1]),
            "资产档": random.choice(["A", "B", "C", "D"], count, p=[0.1, 0.25, 0.4, 0.25]),
            "近90日活跃": random.choice(["是", "否"], count, p=[0.6, 0.4]),
            "城市": random.choice(["上海", "北京", "深圳", "杭州", "成都"], count),
            "数据标记": [MARK] * count,
        }
    )


def grants_frame(
    party: str, recipients: Sequence[str], people: np.ndarray, universe: Universe, seed: int, today: date, notice: str = ""
) -> pl.DataFrame:
    """Grants of one institution's customers towards each other institution, under this version of its notice.

    Of 100 customers and recipient: 62 live for wealth-marketing, 6 expired, 4 for another purpose, the rest none; a few
    end within the month, so that "expiring soon" has something to show.
    """
    frames = []
    for recipient in recipients:
        random = np.random.default_rng([seed, 4, *party.encode(), *recipient.encode()])
        fate = random.choice(["live", "soon", "expired", "other", "none"], people.size, p=[0.57, 0.05, 0.06, 0.04, 0.28])
        kept = fate != "none"
        until = {
            "live": today + timedelta(days=400),
            "soon": today + timedelta(days=9),
            "expired": today - timedelta(days=1),
            "other": today + timedelta(days=400),
        }
        chosen = [universe.phones[person] for person in people[kept]]
        digests = random.integers(0, 256, (int(kept.sum()), 32), dtype=np.uint8)
        frames.append(
            pl.DataFrame(
                {
                    "phone": chosen,
                    "purpose": ["investor-education" if one == "other" else "wealth-marketing" for one in fate[kept]],
                    "recipient": [recipient] * len(chosen),
                    "valid_from": [str(today - timedelta(days=200))] * len(chosen),
                    "valid_until": [str(until[one]) for one in fate[kept]],
                    "document_digest": [row.tobytes().hex() for row in digests],
                    "channel": random.choice(["app", "branch"], len(chosen), p=[0.8, 0.2]),
                    "notice": [notice] * len(chosen),
                }
            )
        )
    return pl.concat(frames)


def populate(workspace: Workspace, *, customers: int, seed: int, say: Callable[[str], None]) -> None:
    """Write sample files for every party that has customers and import them through the node's own gate, before any node runs.

    customers: of the broker, at least 200; the others follow SIZES. Cost: about 10 s for 20,000.
    """
    parties = list(workspace.exchanging)
    count, people = choose_people(parties, max(200, customers), seed)
    universe = make_universe(count, seed)
    for party in parties:
        node = open_node(workspace, party)
        try:
            folder = node.folder / "samples"
            folder.mkdir(mode=0o700, exist_ok=True)
            frame = customer_frame(party, people[party], universe, seed)
            customers_file = folder / "customers.csv"
            frame.write_csv(customers_file, include_bom=True)
            others = [one for one in parties if one != party]
            notice = publish_sample(node)
            grants = grants_frame(party, others, people[party], universe, seed, node.today(), notice)
            consents_file = folder / "consents.csv"
            grants.write_csv(consents_file)
            say(f"{node.names(node.party)[0]}：{frame.height:,} 位合成客户，{grants.height:,} 条授权")
            _import(node, customers_file, consents_file)
        finally:
            node.close()


def _import(node: Workbench, customers_file: Path, consents_file: Path) -> None:
    zh = node.names(node.party)[0]
    catalogue = {
        "name": f"{zh}个人客户（合成）",
        "owner": f"{zh}财富管理部",
        "source": "内部业务系统（合成数据，按种子生成）",
        "subjects": "个人客户",
        "method": "开户与服务中收集（合成）",
        "data_class": "C2",
        "lawful_basis": "consent",
    }
    _call(node, Role.MARKETING, "lists.import", {"file": _offer(node, customers_file), "catalogue": catalogue})
    _call(node, Role.COMPLIANCE, "consent.import", {"file": _offer(node, consents_file)})


def publish_sample(node: Workbench) -> str:
    """Publish the notice that comes with the program, by two people and the same operations as any; returns key@version."""
    reply = _call(node, Role.COMPLIANCE, "notices.sample", {}).model_dump()
    # The consents of the demonstration are older than the demonstration: the text was shown since then.
    reply["content"]["effective_ms"] = node.now_ms() - NOTICE_DAYS * 86_400_000
    proposed = _call(node, Role.COMPLIANCE, "notices.propose", {"notice": reply["notice"], "content": reply["content"]}).model_dump()
    decided = {name: proposed[name] for name in ("notice", "version", "digest")}
    _call(node, Role.APPROVER, "notices.publish", decided)
    return f"{proposed['notice']}@{proposed['version']}"


def _offer(node: Workbench, path: Path) -> str:
    return node.uploads.adopt(path)


def _call(node: Workbench, role: Role, operation: str, request: dict[str, object]) -> BaseModel:
    person = next(one for one in node.people.everyone() if role in one.roles)
    caller = Caller(person=person)
    context = OperationContext(
        host=node, caller=caller, progress=lambda done, total, zh, en: None, cancelled=lambda: False
    )
    return node.gate.call(operation, request, caller, context=context, is_confirmed=True)
