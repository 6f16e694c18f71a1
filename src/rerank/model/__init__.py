"""Pairs of texts → scores: the cross-encoder, its tokens, losses, training and engines.

Imports data (the schema) and measure (the metric that training watches).
"""
