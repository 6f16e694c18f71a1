"""A source → candidate lists: fetch it, read its tables, check the schema, clean, sample and split.

Imports nothing of ours but errors and files.
"""
