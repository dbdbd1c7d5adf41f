"""The line as a model: light, fibre, detectors, estimation and rates; pure. Document: docs/protocols/qkd.md."""
