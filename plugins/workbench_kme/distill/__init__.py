"""From raw detections to secret keys: sifting, correction, verification, amplification; pure. Document: docs/protocols/qkd.md."""
