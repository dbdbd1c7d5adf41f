"""Kinds of evidence entry that only this engine's marks make. Document: docs/protocols/intersection.md section 10.

None of these entries is made by a run that is below the floor at that step. Exact numbers are committed, not shared,
but for the customers dropped at the cut-off: requirement B7 wants that count in the open. The kind of the mark
`cardinality` belongs to the host, since every engine with a floor before the reveal makes it.
"""

from __future__ import annotations

from workbench.domain.evidence import EvidenceKind, Field, Visibility

_CONTRACT = Field("contract", Visibility.SHARED, "约定的 SM3", "SM3 of the contract")

EVIDENCE_KINDS = (
    EvidenceKind(
        name="intersection.struck",
        fields=(
            _CONTRACT,
            Field(
                "own_class",
                Visibility.COMMITTED,
                "我方剔除清单的长度档位",
                "size class of our strike list",
                unit="places",
            ),
            Field("partner_class", Visibility.COMMITTED, "对方剔除清单的长度档位", "of the partner's", unit="places"),
            Field("remaining", Visibility.COMMITTED, "剔除后的共同客户数", "common customers left", unit="customers"),
        ),
        zh="公布结果前双方剔除了已撤回同意的客户，剩余人数仍不低于下限",
        en="Before the reveal both sides struck customers who withdrew; those left still reach the floor.",
    ),
    EvidenceKind(
        name="intersection.grants",
        fields=(
            _CONTRACT,
            Field(
                "dropped", Visibility.SHARED, "截止时点剔除的人数", "customers dropped at the cut-off", unit="customers"
            ),
            Field(
                "checked",
                Visibility.COMMITTED,
                "核对授权承诺的人数",
                "customers whose grants were checked",
                unit="customers",
            ),
            Field("own_root", Visibility.SHARED, "我方授权承诺根", "root of our commitments, SM3"),
            Field("partner_root", Visibility.SHARED, "对方授权承诺根", "root of the partner's, SM3"),
            Field("own_shown", Visibility.SHARED, "我方出示内容的摘要", "digest of what we showed, SM3"),
            Field("partner_shown", Visibility.SHARED, "对方出示内容的摘要", "digest of what the partner showed, SM3"),
        ),
        zh="公布后双方按截止时点再次核对，并逐一出示本方向的授权承诺",
        en="After the reveal both sides checked again at the cut-off and showed a grant commitment for every customer.",
    ),
)
