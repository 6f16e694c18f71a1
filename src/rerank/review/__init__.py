"""Two revisions of the project → what a reviewer decides from: a page in Markdown, and rules that pass or fail.

Reads what Git, the DVC cache and a remote at hand have; imports measuring and the registry of systems, and no model.
"""
