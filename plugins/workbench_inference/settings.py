"""Settings of the sandbox at both roles. Document: docs/sandbox-design.md section 5."""

from __future__ import annotations

from typing import Any, Final

from workbench.contracts import Setting

TENANT: Final = "tenant"
PROVIDER: Final = "provider"

CONTROLS: Final = (
    "host-user", "user", "no-capabilities", "no-new-privileges", "no-more-namespaces", "own-processes", "no-network", "own-ipc", "own-hostname",
    "own-cgroup-view", "files", "scratch", "filter", "no-programs", "no-debugging", "memory", "processes", "cpu", "group-kill", "no-core", "no-swap",
    "dies-with-launcher", "clean-start", "image-measured", "engine-inside", "probe",
)  # fmt: skip
"""Names of docs/protocols/sandbox.md section 7, in its order."""

CLASS_LEVELS: Final[dict[str, dict[str, Any]]] = {
    "public": {"level": "process", "behind": True},
    "internal": {"level": "process", "behind": False},
    "important": {"level": "tee", "behind": False},
    "personal": {"level": "tee", "behind": False},
}
"""Data class -> least level of assurance, and whether the engine may stand beside the sandbox."""

CALENDAR: Final[dict[str, Any]] = {"peak": [["09:00", "15:30"], ["18:00", "22:00"]], "release_at": "22:00"}
"""Stretches of a working day (Asia/Shanghai) in which the most cards are wanted; at release_at everything is given back."""

SETTINGS: Final = (
    Setting(
        "inference.role", str, "", "", "本节点在沙箱中的角色：tenant 租用方、provider 算力方，空为都不是。启动时读取",
        "what this node is for the sandbox: tenant, provider, or empty for neither. Read at start",
    ),
    Setting("inference.provider", str, "", "", "租用方：算力方的机构名", "tenant: institution that rents out"),
    Setting(
        "inference.policy", str, "hybrid-required", "", "与沙箱的会话对密钥的要求（docs/protocols/frame.md 第 2 节）",
        "what sessions with a sandbox demand of keys (docs/protocols/frame.md section 2)", production="qkd-required",
    ),
    Setting("inference.session_s", int, 3600, "s", "一次会话多久后须重新核对沙箱证据", "after how long a session needs new evidence of its sandbox"),
    Setting("inference.tick_s", int, 60, "s", "计量的间隔", "pause between meters"),
    Setting(
        "inference.controls", list, [one for one in CONTROLS if one != "no-swap"], "", "订租时要求生效的控制项（docs/protocols/sandbox.md 第 7 节）",
        "controls an order demands to be on (docs/protocols/sandbox.md section 7)", production=list(CONTROLS),
    ),
    Setting(
        "inference.class_levels", dict, CLASS_LEVELS, "", "各数据分级要求的最低保证级别，以及引擎可否在沙箱旁边（docs/protocols/sandbox.md 第 13 节）",
        "least level of assurance of each data class, and whether its engine may stand beside the sandbox (docs/protocols/sandbox.md section 13)",
    ),
    Setting("inference.min_servers", int, 2, "1", "扩缩的最少卡数", "fewest cards the scaler sets"),
    Setting("inference.max_servers", int, 10, "1", "扩缩的最多卡数", "most cards the scaler sets"),
    Setting(
        "inference.queue_per_server", int, 4, "1", "尚无实测时，假定一张卡在 inference.wait_s 的一半时间内答完这么多提问",
        "as long as nothing was measured: asks that one card is taken to answer in half of inference.wait_s",
    ),
    Setting("inference.wait_s", int, 30, "s", "提问等待超过此时间算迟", "an ask that waits longer counts as late"),
    Setting("inference.cooldown_s", int, 60, "s", "距上次变更多久后才减少卡", "how long after the last change cards are given back at the earliest"),
    Setting("inference.start_delay_s", int, 20, "s", "一张卡从要到就绪的时间", "from asking for a card until it is ready"),
    Setting(
        "inference.calendar", dict, CALENDAR, "", "工作日的高峰时段与释放时刻（北京时间）", "peak stretches of a working day and when everything is given back (Asia/Shanghai)",
    ),
    Setting("inference.queue_most", int, 200, "1", "最多多少个提问排队", "most asks that wait"),
    Setting("inference.channel_reads", int, 20, "1", "渠道读回答的次数上限是每分钟请求数的几倍", "reads of answers a channel may make for each request of its limit"),
    Setting("inference.history_days", int, 180, "d", "提问记录保留多久", "how long the history of asks is kept"),
    Setting("inference.most_per_person", int, 300, "1", "每人每月的提问上限", "most asks of a person in a month"),
    Setting("inference.most_per_customer", int, 60, "1", "每位客户每月的提问上限", "most asks of a customer in a month"),
    Setting("inference.most_per_group", int, 3000, "1", "每个岗位每月的提问上限", "most asks of a role in a month"),
    Setting("inference.budget_fen", int, 5000, "fen", "每月算力预算，0 为不设", "budget for computing in a month, 0 for none"),
    Setting("inference.cohort_cap", int, 10_000, "1", "受邀客户的名额，最多 10000", "most invited customers, 10000 at most"),
    Setting(
        "inference.isolation", str, "bubblewrap", "", "算力方：沙箱的隔离方式（bubblewrap 为进程级，gvisor 为 gVisor 级）", "provider: how a sandbox is isolated (bubblewrap: level process, gvisor: level gvisor)",
    ),
    Setting(
        "inference.volumes", str, "", "", "算力方：各租用方的卷放在哪个文件夹，空为节点文件夹旁的 volumes", "provider: folder of the tenants' volumes, empty for volumes beside the node's folder",
    ),
    Setting(
        "inference.first_uid", int, 64_000, "1", "算力方：节点可以换用户时，第 n 台服务器以此数加 n 的用户运行",
        "provider: where the node may change users, server n runs as this number plus n",
    ),
    Setting(
        "inference.ray", dict, {}, "", "租用方：扩缩器 ray-serve：address（Ray 管理地址）、application、deployment，另有 token（令牌文件），空为没有",
        "tenant: scaler ray-serve: address (of Ray's dashboard), application, deployment, also token (file of its token); empty for none",
    ),
    Setting(
        "inference.upstream", dict, {}, "", "算力方：兼容 OpenAI 的推理服务：address（主机:端口）、model、key（密钥文件），另有 path、tls、ca（证书文件），空为没有",
        "provider: an OpenAI-compatible server: address (host:port), model, key (file of its key), also path, tls, ca (file); empty for none",
    ),
    Setting(
        "inference.programs", dict, {}, "",
        "可在沙箱内启动的推理服务：名称 → argv、binds（沙箱内路径 → 文件）、modules、environment、model、path、ready_s；租用方另有 weights（签署镜像时的权重）与 limits。docs/sandbox-engines.md 第 3 节",
        "servers that may be started inside a sandbox: name -> argv, binds (path inside -> file), modules, environment, model, path, ready_s; at a tenant also weights (of an image when it is signed) and limits. docs/sandbox-engines.md section 3",
    ),
)  # fmt: skip

__all__ = ["CALENDAR", "CLASS_LEVELS", "CONTROLS", "PROVIDER", "SETTINGS", "TENANT"]
