"""Pairs of texts → scores: the cross-encoder, its tokens, losses, training and engines.

Imports data (the schema) and measure.quality (the metrics that decide which weights are best).
"""
