"""The program that holds one card: it starts, limits, relays, kills and looks; it never holds a session's keys."""
