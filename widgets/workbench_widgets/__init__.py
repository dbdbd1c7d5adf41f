"""Components of the evidence workbench for notebooks and dashboards alike.

Each takes plain data, raises events (:meth:`Component.on_action`), draws with no request leaving the machine, and
knows nothing of the workbench itself. ``python -m workbench_widgets.gallery FILE.html`` writes a page with all of them
in every state.
"""

from __future__ import annotations

from .answer_strip import AnswerStrip
from .attack_slider import AttackSlider
from .badge import Badge, StateChip
from .chat_message import ChatMessage
from .component import Component
from .cost_curve import CostCurve
from .data_table import DataTable
from .field_diff import FieldDiff
from .job_graph import JobGraph
from .key_life import KeyLife
from .key_numbers import KeyNumbers
from .lanes import Lanes
from .lease_bar import LeaseBar
from .line_chart import LineChart
from .line_diagram import LineDiagram
from .month_bars import MonthBars
from .node_health import NodeHealth
from .phase_list import PhaseList
from .pool_gauge import PoolGauge
from .progress_cancel import ProgressCancel
from .proof_chain import ProofChain
from .proof_path import ProofPath
from .receipt_card import ReceiptCard
from .rejects_table import RejectsTable
from .rule_builder import RuleBuilder, rule_text
from .source_panel import SourcePanel
from .stepper import Stepper
from .two_person_action import TwoPersonAction
from .venn import Venn
from .waterfall import Waterfall, check_waterfall

COMPONENTS: tuple[type[Component], ...] = (
    AnswerStrip,
    Stepper,
    PhaseList,
    Waterfall,
    Venn,
    Lanes,
    JobGraph,
    ProofChain,
    ProofPath,
    FieldDiff,
    ReceiptCard,
    ProgressCancel,
    RejectsTable,
    DataTable,
    StateChip,
    Badge,
    NodeHealth,
    TwoPersonAction,
    RuleBuilder,
    KeyNumbers,
    MonthBars,
    LineDiagram,
    LineChart,
    PoolGauge,
    KeyLife,
    AttackSlider,
    ChatMessage,
    SourcePanel,
    LeaseBar,
    CostCurve,
)

__all__ = [
    "COMPONENTS",
    "AnswerStrip",
    "AttackSlider",
    "Badge",
    "ChatMessage",
    "Component",
    "CostCurve",
    "DataTable",
    "FieldDiff",
    "JobGraph",
    "KeyLife",
    "KeyNumbers",
    "Lanes",
    "LeaseBar",
    "LineChart",
    "LineDiagram",
    "MonthBars",
    "NodeHealth",
    "PhaseList",
    "PoolGauge",
    "ProgressCancel",
    "ProofChain",
    "ProofPath",
    "ReceiptCard",
    "RejectsTable",
    "RuleBuilder",
    "SourcePanel",
    "StateChip",
    "Stepper",
    "TwoPersonAction",
    "Venn",
    "Waterfall",
    "check_waterfall",
    "rule_text",
]
