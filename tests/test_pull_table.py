"""A table without the schema of pairs is fetched and converted by a stage of any name, and nothing else is checked."""

from pathlib import Path

import pandas as pd
import pull_project
import pytest
from ruamel.yaml import YAML

JUDGMENTS = "# qid:1: rambo\n1\tqid:1 #\t7555\trambo\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with the stage pull_judgments, which takes csv_quote from its own params.yaml."""
    folder = pull_project.make_project(tmp_path / "project")
    command = 'PYTHONPATH=src python -m stages.pull_table "${source}" data/judgments'
    stage = {
        "cmd": command,
        "deps": ["${source}"],
        "params": ["csv_quote", "max_source_gb"],
        "outs": ["data/judgments"],
    }
    YAML().dump({"stages": {"pull_judgments": stage}}, folder / "dvc.yaml")
    return folder


def test_dvc_runs_the_stage_under_a_name_of_its_own(project: Path) -> None:
    (project / "list.txt").write_text(JUDGMENTS)
    pull_project.set_params(project, source="list.txt")
    result = pull_project.command(project, "dvc", "repro")
    assert result.returncode == 0, result.stderr
    assert "1 table from list.txt" in result.stdout
    rows = pd.read_parquet(project / "data/judgments").to_dict("records")
    assert rows == [{"qid": "1", "keywords": "rambo", "doc_id": "7555", "grade": 1}]


def test_a_mistake_is_one_line_and_leaves_nothing(project: Path) -> None:
    (project / "list.txt").write_text(JUDGMENTS + "rambo\n")
    pull_project.set_params(project, source="list.txt")
    result = pull_project.command(
        project, "stages.pull_table", "list.txt", "data/judgments", DVC_STAGE="pull_judgments"
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: list.txt: line 3 is no judgment ('rambo'): ")
    assert result.stderr.count("\n") == 1
    assert not pull_project.contents(project / "data")
