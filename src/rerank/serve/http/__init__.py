"""Requests over HTTP → rankings, by a model that is loaded once: `python -m rerank serve`.

Imports serve, and every room above it.
"""
