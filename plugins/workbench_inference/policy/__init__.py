"""What may be asked, by whom, and what leaves: redaction, scenarios, access, suitability, content, leaks, cohort, quota.

Pure but for `tables` and the operations beside this package. Documents: docs/protocols/sandbox.md section 13,
docs/sandbox-design.md sections 6 and 6.2.
"""
