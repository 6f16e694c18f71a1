"""How each task of `rerank.tasks` is drawn: one entry a task.

Apart from how it is measured, so that another picture measures nothing again.
"""

from rerank.measure.pictures import duplicates, ranking, similarity

# (validation, test, *, evaluation, favourites) -> (pictures, points), by file name without ending.
DRAW = {"ranking": ranking.draw, "similarity": similarity.draw, "duplicates": duplicates.draw}
