"""What `dvc plots show` and `dvc plots diff` draw: pages that need no network, charts in the colours of their points.

The charts are those that the project's and the tasks' dvc.yaml declare, with points of this file.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from browser import CHROMIUM, needs_chromium
from matplotlib.figure import Figure
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
# Not in the order of the alphabet, and one that ends in another's name.
COLOURS = {"popularity": "#e69f00", "bm25": "#cc79a7", "untuned_cross_encoder": "#56b4e9", "cross_encoder": "#0072b2"}
LABELS = {"positive": "#0072b2", "negative": "#333333"}


def by(key: str, colours: dict[str, str], columns: dict[str, list]) -> pd.DataFrame:
    """Return the same points for each system, or label, with its colour."""
    return pd.concat([pd.DataFrame({key: name, "colour": colour} | columns) for name, colour in colours.items()])


def points(name: str, shift: float) -> pd.DataFrame:
    """Return the points of a file that a dvc.yaml draws; of different lengths as text, which is how DVC reads them."""
    up = [0.02 + shift, 0.1, 1.0]
    interval = {"low": [0.1 + shift], "high": [0.3 + shift]}
    tables = {
        "loss": pd.DataFrame({"step": [5, 20, 100], "loss": [0.7, 0.5, 0.3 + shift]}),
        "validation": pd.DataFrame({"step": [0, 20, 100], "metric": "ndcg@10", "value": [0.2, 0.3, 0.4 + shift]}),
        "gain": pd.DataFrame({"users_percent": [5, 50, 95], "gain": [-0.1, 0.1, 0.3 + shift]}),
        "predicted": pd.DataFrame({"label": [0.0, 2.5, 5.0], "predicted": [0.3, 2.0, 4.0 + shift]}),
        "ndcg": by("system", COLOURS, {"ndcg@10": [0.2 + shift], **interval}),
        "cold": by("system", COLOURS, {"ndcg@10": [0.2 + shift], **interval}),
        "fusion": by("system", COLOURS, {"weight": [0.4 + shift], "lost": [0.01]}),
        "spearman": by("system", COLOURS, {"spearman": [0.2 + shift], **interval}),
        "f1": by("system", COLOURS, {"f1": [0.2 + shift], **interval}),
        "roc": by("system", COLOURS, {"false_positive_rate": up, "true_positive_rate": up}),
        "precision_recall": by("system", COLOURS, {"recall": up, "precision": up}),
        "calibration": by("system", COLOURS, {"predicted": up, "observed": up, "pairs": 9}),
        "score_distribution": by("label", LABELS, {"score": [-10, -2, 5], "share": [0.3 + shift, 0.5, 0.2]}),
        # The last bin has a single user, and so no interval.
        "favourites": by(
            "system",
            COLOURS,
            {"favourites": [2, 4.5, 11], "bin": ["2", "4 to 5", "11"], "users": [9, 8, 1], "ndcg@10": [0.3, 0.4, 0.5]}
            | {"low": [0.2 + shift, 0.3, None], "high": [0.4, 0.5, None]},
        ),
    }
    return tables[name]


def declared() -> dict[str, dict]:
    """Return what the dvc.yaml files say of each plot that is a table: path → its properties."""
    plots = {}
    for file in (ROOT / "dvc.yaml", *sorted(ROOT.glob("tasks/*/dvc.yaml"))):
        text = re.sub(r"\$\{[^}]*\}", "any", file.read_text(encoding="utf-8"))
        for stage in YAML(typ="safe").load(text)["stages"].values():
            for plot in stage.get("plots", []):
                [(path, properties)] = plot.items()
                if path.endswith(".csv"):
                    plots.setdefault(path, properties)
    return plots


def run(*command: str, cwd: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project with the plots of every dvc.yaml, a picture, and two revisions, HEAD and the workspace."""
    folder = tmp_path_factory.mktemp("pages")
    run("git", "init", "--quiet", cwd=folder)
    run("dvc", "init", "--quiet", cwd=folder)
    for name in ("config", "page.html"):
        shutil.copy(ROOT / ".dvc" / name, folder / ".dvc")
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots", dirs_exist_ok=True)
    plots = [{path: properties} for path, properties in declared().items()]
    stage = {"cmd": "true", "plots": [*plots, {"picture.png": {"cache": False}}]}
    YAML().dump({"stages": {"draw": stage}}, folder / "dvc.yaml")
    Figure(figsize=(1, 1)).savefig(folder / "picture.png")
    for shift in (0.0, 0.05):
        for path in declared():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            points(Path(path).stem, shift).to_csv(folder / path, index=False)
        if shift == 0:
            run("git", "add", "--all", cwd=folder)
            run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "-m", "one", cwd=folder)
    run("dvc", "plots", "show", "--out", "one", cwd=folder)
    run("dvc", "plots", "diff", "--out", "both", cwd=folder)
    return folder


class Page(HTMLParser):
    """What a page loads, draws and says: ``sources``, number of ``charts``, ``marks`` (label, colours), a problem."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.charts = 0
        self.marks: list[tuple[str, set[str]]] = []
        self.said: str | None = None
        self.listening = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.sources += [given[name] for name in ("src", "href") if name in given and tag in ("script", "link", "img")]
        self.charts += tag == "svg" and given.get("class") == "marks"
        if "aria-label" in given and tag != "text":
            self.marks.append((given["aria-label"], {given.get("stroke", ""), given.get("fill", "")}))
        self.listening = given.get("id") == "problem" and "hidden" not in given

    def handle_data(self, data: str) -> None:
        if self.listening:
            self.said, self.listening = data, False


def drawn(page: Path, profile: Path) -> Page:
    """Return the page as a browser shows it, after its scripts have run."""
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
    more = ["--disable-sync", f"--user-data-dir={profile}", "--virtual-time-budget=10000", "--dump-dom", page.as_uri()]
    done = subprocess.run([str(CHROMIUM), *flags.split(), *more], capture_output=True, text=True, timeout=60)
    return Page(done.stdout)


@pytest.mark.parametrize("kind", ["one", "both"])
def test_a_page_has_every_chart_and_needs_no_network(project: Path, kind: str) -> None:
    page = (project / kind / "index.html").read_text(encoding="utf-8")
    sources = Page(page).sources
    assert sources and all((project / kind / source).is_file() for source in sources), "only the picture's own files"
    charts = [json.loads(chart) for chart in re.findall(r"var spec = (\{.*\});", page)]
    assert {chart["title"]["text"] for chart in charts} == {plot["title"] for plot in declared().values()}
    assert "DVC_METRIC" not in json.dumps(charts), "an anchor of a template that DVC did not fill"


@needs_chromium
@pytest.mark.parametrize("kind", ["one", "both"])
def test_every_chart_is_drawn_in_the_colours_of_its_points(project: Path, kind: str, tmp_path: Path) -> None:
    page = drawn(project / kind / "index.html", tmp_path)
    assert page.said is None
    assert page.charts == len(declared())
    seen = set()
    for label, colours in page.marks:
        for key, name in re.findall(r"(?:^|; )(system|label): (\w+)(?=;|$)", label):
            assert (COLOURS if key == "system" else LABELS)[name] in {colour.lower() for colour in colours}, label
            seen.add(name)
    assert seen == {*COLOURS, *LABELS}


@needs_chromium
def test_a_page_whose_scripts_fail_says_so(project: Path, tmp_path: Path) -> None:
    page = (project / "one/index.html").read_text(encoding="utf-8")
    (tmp_path / "index.html").write_text(page.replace("vegaEmbed=t(", "lost=t("), encoding="utf-8")
    assert "can't be drawn" in (drawn(tmp_path / "index.html", tmp_path / "profile").said or "")
