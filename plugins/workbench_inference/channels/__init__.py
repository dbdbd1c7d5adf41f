"""What lets the office system and the customers' app ask: credentials of machines, the two adapters, words for customers. Document: docs/channels.md."""
