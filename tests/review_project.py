"""A small project of two commits whose scores, data, params and plots differ, to review."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from checkout import ROOT, command
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from rerank.measure.metrics import per_user
from rerank.review.comparison import MAIN

RUN = f"PYTHONPATH={ROOT / 'src'} python -m rerank.review --scores data/scores --split data/split --report report"
HOSTILE = 'Dune <img src=x onerror="x()"> | @you #12 \x1b[31mred \u202eback `code` *x*\nnext'


def scored(users: int, *, skill: float, seed: int = 0, cold: bool = False) -> pd.DataFrame:
    """Return a score table: 20 books a user, 4 liked, noise and ``skill`` times the label as the score."""
    drawn = np.random.default_rng(seed)
    lists = [(f"u{user:03d}", f"b{book:02d}", int(book % 5 == user % 5)) for user in range(users) for book in range(20)]
    table = pd.DataFrame(lists, columns=["user_id", "book_id", "label"])
    noise = np.random.default_rng(99).normal(size=len(table))
    fused = noise + skill * table["label"] + drawn.normal(scale=0.01, size=len(table))
    return table.assign(**{"cold": cold, "score/item_knn": noise, "score/cross_encoder": fused, "score/fused": fused})


def _points(skill: float) -> dict[str, pd.DataFrame]:
    systems = {"system": ["item_knn", "fused"], "colour": ["#661100", "#111111"]}
    ends = pd.DataFrame(systems).merge(pd.DataFrame({"x": [0.0, 1.0]}), how="cross")
    values = pd.DataFrame({"step": [0, 10, 20], "metric": MAIN, "value": [0.1, 0.2, skill / 2]})
    return {
        "curve": values,
        "ndcg": pd.DataFrame(systems).assign(value=[0.3, skill / 2], low=0.1, high=0.9),
        "roc": ends.rename(columns={"x": "false"}).assign(true=ends["x"] * skill / 2),
        "shares": pd.DataFrame({"label": ["positive", "negative"] * 2, "score": [0, 0, 1, 1], "share": skill / 3}),
        "same": values.assign(value=0.5),
    }


PLOTS = {
    "curve": {"title": "Validation", "template": "simple", "x": "step", "y": "value", "x_label": "steps"},
    "ndcg": {"title": "Quality", "template": "intervals", "x": "value", "y": "system", "x_label": MAIN},
    "roc": {"title": "ROC", "template": "curves", "x": "false", "y": "true"},
    "shares": {"title": "Scores", "template": "shares", "x": "score", "y": "share"},
    "same": {"title": "Unchanged", "template": "simple", "x": "step", "y": "value"},
}


def make_project(folder: Path) -> Path:
    """A Git and DVC repository whose second commit ranks worse, for fewer readers, with other params."""
    command(folder, "git init --quiet --initial-branch main && dvc init --quiet")
    plots = [{f"{name}.csv": {"cache": False, **words}} for name, words in PLOTS.items()]
    draw = {"cmd": "true", "params": ["lr"], "plots": [*plots, {"picture.png": {"cache": False}}]}
    for skill, users, lr in ((1.5, 60, 1e-4), (0.7, 50, 2e-4)):
        (folder / "data/scores").mkdir(parents=True, exist_ok=True)
        (folder / "data/split").mkdir(parents=True, exist_ok=True)
        scored(users, skill=skill).to_parquet(folder / "data/scores/test.parquet")
        texts = scored(users, skill=0)[["user_id", "book_id", "label", "cold"]]
        likes = "likes-" + texts["user_id"] + " " + HOSTILE
        texts.assign(user_ctx=likes, book_text=HOSTILE).to_parquet(folder / "data/split/test.parquet")
        (folder / "params.yaml").write_text(f"seed: 1\nlr: {lr}\nbase_model: bundled\n")
        (folder / "requirements.txt").write_text("torch==2.13.0\n")
        (folder / "counts.json").write_text(json.dumps({"users": users}))
        for name, table in _points(skill).items():
            table.to_csv(folder / f"{name}.csv", index=False)
        Figure(figsize=(skill, 1)).savefig(folder / "picture.png")
        table = scored(users, skill=skill)
        now = per_user(table["user_id"], table["book_id"], table["label"], table["score/fused"])[MAIN].mean()
        (folder / "training.json").write_text(json.dumps({"validation_ndcg@10": skill / 2}))
        (folder / "seeds.json").write_text(json.dumps({MAIN: {"fused": [now - 0.02, now, now + 0.02]}}))
        YAML().dump({"stages": {"draw": draw}}, folder / "dvc.yaml")
        command(folder, "dvc add --quiet data/scores data/split && dvc commit --quiet --force draw")
        command(folder, f"git add --all && git commit --quiet --message 'Skill {skill}'")
    return folder
