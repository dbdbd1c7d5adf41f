"""Frames and conversations between institutions; used by the intersection, later by the sandbox and its worker."""
