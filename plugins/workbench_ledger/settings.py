"""Settings of the ledger. Document: docs/protocols/ledger.md."""

from __future__ import annotations

from workbench.contracts import Setting

SETTINGS = (
    Setting(
        "ledger.mldsa", bool, False, "",
        "共签时另加一行 ML-DSA-44 签名（抗量子）；首次打开时生成密钥，新的公开资料包须由伙伴重新登记",
        "add an ML-DSA-44 line to co-signatures (post-quantum); the key is made at the next start, partners pin the new bundle",
    ),
    Setting(
        "ledger.mldsa_required", list, [], "",
        "这些种类（前缀）的记录，只有带 ML-DSA-44 行的共签才算数",
        "for entries of these kinds (prefixes) only co-signatures with an ML-DSA-44 line count",
    ),
    Setting(
        "ledger.restore", str, "automatic", "",
        "发现本机日志是旧副本时：automatic 自动从镜像取回，manual 等待运维运行 workbench ledger catch-up",
        "when the own log turns out to be an older copy: automatic fetches it back, manual waits for workbench ledger catch-up",
    ),
    Setting(
        "ledger.start_alone", bool, False, "",
        "有伙伴未应答时也允许写入（演示与测试工作区总是允许）；若本机是旧副本，事后会被镜像拒绝",
        "write although a partner does not answer (demo and test workspaces always may); an older copy is refused by mirrors later",
    ),
)  # fmt: skip
