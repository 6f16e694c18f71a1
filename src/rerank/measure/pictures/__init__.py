"""Evaluations and scores → pictures for people, and beside each the points behind it for `dvc plots diff`.

A file a family of pictures; `ranking`, `similarity` and `duplicates` have the ``draw`` of that task.
"""
