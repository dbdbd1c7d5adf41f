"""Notices: what a customer is told before signing, version by version. Document: docs/protocols/notice.md."""
