"""Consent receipts: what a customer can hold in their hand. Document: docs/protocols/consent-receipt.md."""
