"""Drift: whether a table, or a model's traffic, is still what it was."""
