"""Settings of a node: declared by host and plugins with type, unit and default; values in the node's settings file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workbench.contracts import Setting
from workbench.errors import StartRefused

HOST_SETTINGS = (
    Setting("node.step_timeout_s", int, 120, "s", "等待对方一步的最长时间", "longest wait for one step of a partner"),
    Setting("node.total_timeout_s", int, 3600, "s", "一次求交的最长时间", "longest duration of one intersection"),
    Setting("node.channels", dict, {}, "", "某机构走哪条通道，如 {\"bank\": \"qkd\"}；未列出的走 mutual-tls。启动时读取",
            "which channel a partner is reached over, such as {\"bank\": \"qkd\"}; whoever is not named: mutual-tls. Read at start"),
    Setting("node.max_message_bytes", int, 4 << 20, "B", "对方一条消息的上限", "largest message of a partner"),
    Setting("node.max_upload_bytes", int, 2 << 30, "B", "上传文件的上限", "largest uploaded file"),
    Setting("node.max_request_bytes", int, 1 << 20, "B", "一次请求的上限", "largest request body"),
    Setting("node.max_skew_s", int, 5, "s", "与对方时钟允许的差", "largest accepted difference to a partner's clock"),
    Setting("evidence.report_font", str, "", "", "报告 PDF 的中文字体文件，空为系统常见位置", "font file with Chinese characters for PDF reports, empty for the usual places"),
    Setting("node.seal_interval_ms", int, 1000, "ms", "送共签的间隔", "pause between co-signing rounds"),
    Setting("node.threads", int, 0, "1", "计算线程数，0 为处理器数", "threads for arithmetic, 0 for one per processor"),
    Setting("lists.max_bad_share", float, 0.05, "1", "坏行超过此比例则整份不导入", "a file with a larger share of bad rows is refused"),
    Setting("lists.stale_days", int, 365, "d", "客户资料超过此天数未更新即提示", "customer data not updated for longer is pointed out"),
    Setting("intersection.minimum_crowd", int, 50, "1", "本机构的最小人群", "this institution's smallest crowd"),
    Setting("intersection.minimum_input", int, 50, "1", "参与求交的最少真实客户", "fewest real customers in an intersection"),
    Setting("intersection.largest_partner_list", int, 1 << 22, "1", "对方名单规模档位的上限", "largest size class of a partner's list"),
    Setting("intersection.attempts_per_period", int, 200, "1", "每个伙伴、目的、周期内的尝试上限", "attempts per partner, purpose and period"),
    Setting("intersection.baseline_jobs", int, 10, "1", "与最近多少次放行的中位数比较", "released jobs whose median a result is compared with"),
    Setting("intersection.baseline_deviation", float, 0.1, "1", "占比与中位数相差超过此值即提示", "difference of a share to that median that is pointed out"),
    Setting("intersection.period_days", int, 30, "d", "预算周期", "length of the budget period"),
    Setting("intersection.proposal_days", int, 7, "d", "提议的有效期", "how long a proposal stays open"),
    Setting("intersection.seal_hours", float, 24.0, "h", "放行后等待对方放行记录与共签的时限", "how long a release waits for the partner's entry and co-signature"),
    Setting("intersection.sketch_days", int, 180, "d", "用过名单的草图保留多久", "how long sketches of used lists are kept"),
    Setting("intersection.parallel_attempts", int, 4, "1", "与一家伙伴同时运行的求交上限", "intersections that run with one partner at the same time"),
    Setting("node.max_queued_bytes", int, 256 << 20, "B", "等待处理的对方消息的总上限", "messages of all partners together that wait to be read"),
    Setting("members.agreement_days", int, 7, "d", "成员变更第一人同意的有效期", "how long the first person's agreement to a change of members counts"),
    Setting("people.first_password_hours", int, 72, "h", "一次性密码的有效期", "how long a one-time password can be used"),
    Setting("people.slowest_sign_in_s", int, 60, "s", "连错密码后两次尝试之间的最长等待", "longest pause between attempts after wrong passwords"),
    Setting("consent.acknowledgement_hours", int, 72, "h", "对方机构确认一次撤回的时限，逾期即提示（本项目的数字，不是法律期限）",
            "how long a partner has to acknowledge a withdrawal before it is shown as overdue (our figure, not the law's)"),
    Setting("letters.most_an_hour", int, 20_000, "1", "一小时内最多收下一个伙伴的信函", "letters taken from one partner within an hour"),
    Setting("erasure.retention", dict, {
        "consent.": [1096, "网络数据安全管理条例第十二条：提供记录至少保存三年（是否及于授权证据待律师确认）",
                     ("network data regulation article 12: records of provision for three years; that it covers consent evidence"
                     " is our reading")],
        "consent.checked": [0, "没有保存期要求", "nothing demands retention"],
        "customers.": [1096, "权利请求的办理记录保存三年（凭记忆，待核对）",
                       "records of rights requests for three years (from memory, needs a person's check)"],
        "rights.": [1096, "权利请求的办理记录保存三年（凭记忆，待核对）",
                    "records of rights requests for three years (from memory, needs a person's check)"],
        "complaints.": [1096, "投诉的办理记录保存三年（凭记忆，待核对）",
                        "records of complaints for three years (from memory, needs a person's check)"],
        "lists.corrected": [0, "没有保存期要求", "nothing demands retention"],
        "suitability.": [7305, "适当性记录保存二十年（凭记忆，待核对）",
                         "suitability records for twenty years (from memory, needs a person's check)"],
    }, "d", "擦除客户时各类记录仍须保存的天数与依据", "days each kind of record must still be kept when a customer is erased, and why"),
    Setting("intersection.near_duplicate", float, 0.95, "1", "与以往名单重合超过此比例即提示", "overlap with an earlier list that is warned about"),
)  # fmt: skip


class Settings:
    """Values by name; unknown names and wrong types refuse the start. workspace: its kind; production has stricter defaults."""

    def __init__(self, declared: Iterable[Setting], values: dict[str, Any] | None = None, *, workspace: str = "") -> None:
        self._declared = {one.name: one for one in declared}
        self._is_production = workspace == "production"
        self._values: dict[str, Any] = {}
        for name, value in (values or {}).items():
            self._values[name] = self._checked(name, value)

    @classmethod
    def from_file(cls, declared: Iterable[Setting], path: Path) -> Settings:
        """Read a JSON object of names to values; a missing file means defaults."""
        return cls(declared, json.loads(path.read_text("utf-8")) if path.exists() else {})

    def __getitem__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        one = self._declared[name]
        return one.production if self._is_production and one.production is not None else one.default

    def declared(self) -> list[Setting]:
        return sorted(self._declared.values(), key=lambda one: one.name)

    def _checked(self, name: str, value: Any) -> Any:
        setting = self._declared.get(name)
        if setting is None:
            raise StartRefused(f"不认识的设置「{name}」", f"Unknown setting {name}", code="UNKNOWN_SETTING")
        if setting.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, setting.kind) or (isinstance(value, bool) and setting.kind is not bool):
            raise StartRefused(
                f"设置「{name}」应为 {setting.kind.__name__}",
                f"Setting {name} must be of type {setting.kind.__name__}",
                code="WRONG_SETTING",
            )
        return value
