"""The demonstration: synthetic institutions, seeded and labelled, on one machine and in one trust domain."""
