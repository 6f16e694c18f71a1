"""A trained model at work: tables of pairs in, the same with scores out.

Imports every room above it.
"""
