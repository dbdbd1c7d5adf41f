"""Asking: what the tenant verifies, sends, receives, judges and keeps."""
