"""The kinds of task that a table of pairs can pose, and what follows from each: one entry a task.

A leaf: every room may import it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What follows from a task.

    Attributes:
        whole_labels: labels are whole grades, not any numbers.
        symmetric: the order of the two texts means nothing: both are learnt, and a score is the mean of both.
        validation_metric: decides which weights are best, see `rerank.measure.quality`.
    """

    whole_labels: bool
    symmetric: bool
    validation_metric: str


TASKS = {
    "ranking": Task(whole_labels=True, symmetric=False, validation_metric="ndcg@10"),
    "similarity": Task(whole_labels=False, symmetric=True, validation_metric="spearman"),
    "duplicates": Task(whole_labels=True, symmetric=True, validation_metric="average_precision"),
}
