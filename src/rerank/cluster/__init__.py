"""The same on Ray, for what outgrows one machine.

Imports every room; nothing but a command imports it.
"""
