"""Evidence packages: one ZIP that anybody can check. Document: docs/protocols/package.md."""
