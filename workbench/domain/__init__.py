"""Plain values of the business: parties, people, evidence, intersections. No I/O, no clock, no randomness."""
