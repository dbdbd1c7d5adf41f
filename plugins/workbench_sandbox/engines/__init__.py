"""Engines that answer questions from documents, behind one contract (contract.py)."""
