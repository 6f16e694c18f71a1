"""Candidate lists → scores of everything that ranks them.

Imports data and model.
"""
