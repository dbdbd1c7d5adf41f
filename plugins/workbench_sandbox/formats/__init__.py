"""What is signed and sent, byte for byte as docs/protocols/sandbox.md says; pure."""
