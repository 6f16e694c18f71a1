"""Scores → a verdict, tables and pictures; no model and no torch.

Imports nothing of ours but errors and files.
"""
