"""Benchmarks: whole node processes, processor time from the operating system. Run by `make bench`; never timed tests."""
