"""Customer lists, consent files and audience rules: from a file somebody hands over to normalised rows.

Document: docs/intake.md. Everything a file contains is text; nothing in it is evaluated. Errors and reports name the
file by its last part and carry no identifier of a customer.
"""

from __future__ import annotations

from workbench.intake.audience import EVERYBODY, Audience, parse_audience
from workbench.intake.customers import (
    CUSTOMER_COLUMNS,
    CustomerTable,
    Preview,
    import_customers,
    preview_customers,
    read_customers,
)
from workbench.intake.formats import open_table, read_table
from workbench.intake.grant_scope import FormRules, LineScope, NoticeScope
from workbench.intake.grants import GRANT_SCHEMA, GrantTable, import_grant_rows, read_grant_rows
from workbench.intake.mapping import CUSTOMER_FIELDS, GRANT_FIELDS, ColumnMapping, ColumnUse
from workbench.intake.quality import QualityReport, neutralise_cell, neutralise_cells, require_quality, write_rejects
from workbench.intake.reasons import FILE_REASONS, ROW_REASONS
from workbench.intake.table import Limits, Table, TableInfo

__all__ = [
    "CUSTOMER_COLUMNS",
    "CUSTOMER_FIELDS",
    "EVERYBODY",
    "FILE_REASONS",
    "GRANT_FIELDS",
    "GRANT_SCHEMA",
    "ROW_REASONS",
    "Audience",
    "ColumnMapping",
    "ColumnUse",
    "CustomerTable",
    "FormRules",
    "GrantTable",
    "Limits",
    "LineScope",
    "NoticeScope",
    "Preview",
    "QualityReport",
    "Table",
    "TableInfo",
    "import_customers",
    "import_grant_rows",
    "neutralise_cell",
    "neutralise_cells",
    "open_table",
    "parse_audience",
    "preview_customers",
    "read_customers",
    "read_grant_rows",
    "read_table",
    "require_quality",
    "write_rejects",
]
