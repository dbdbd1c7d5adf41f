"""Capture: how a consent comes in, and what is kept of it. Document: docs/protocols/capture.md."""
