"""Withdrawals as the host follows them to partners and exports. Document: docs/protocols/withdrawal.md."""
