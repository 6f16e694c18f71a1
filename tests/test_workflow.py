"""The workflows: what they may do, and the comment that they keep. test_pipeline.py runs the rest of review.yaml."""

import re
import shutil
from pathlib import Path

import pytest
from checkout import ROOT
from ruamel.yaml import YAML
from workflow import github, run_job, runner

FILES = sorted((ROOT / ".github/workflows").iterdir())
needs_gh = pytest.mark.skipif(shutil.which("gh") is None, reason="no gh here to write the comment: apt install gh")


@needs_gh
def test_one_comment_is_written_then_updated_and_nobody_elses_is_touched(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    (folder / "report").mkdir(parents=True)
    env = runner(folder, tmp_path / "summary")
    comments = [{"id": 0, "user": {"login": "somebody"}, "body": "<!-- review --> mine"}]
    with github(tmp_path, comments) as more:
        for report in ('# First `code` "quoted" $HOME', "# Second"):
            (folder / "report/report.md").write_text(report)
            expressions = {"github.token": "any", "github.event.pull_request.number": "12"}
            assert run_job("comment", folder, env | more, expressions) == (0, "")
            mine, ours = (one["body"] for one in comments)
            assert mine == "<!-- review --> mine" and ours.startswith(f"<!-- review -->\n{report}\n\nThe whole page")
    assert "https://example.org/owner/name/actions/runs/99" in ours


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_workflow_may_do_what_it_needs_and_runs_actions_that_cannot_change(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    workflow = YAML(typ="safe").load(text)
    assert "pull_request_target" not in text and workflow["permissions"] in ({}, {"contents": "read"})
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
    for job in workflow["jobs"].values():
        checks_out = any("actions/checkout" in step.get("uses", "") for step in job["steps"])
        assert not (checks_out and "write" in str(job.get("permissions"))), (
            "a stranger's code beside a token that writes"
        )
        assert not checks_out or "persist-credentials" in str(job["steps"])
