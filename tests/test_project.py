"""dvc.yaml, params.yaml, the code and the README are held to each other."""

import ast
import importlib
import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rerank.pairs import SourceColumns
from rerank.params import SCHEMA

ROOT = Path(__file__).parent.parent
PIPELINE = YAML(typ="safe").load(ROOT / "dvc.yaml")
STAGES: dict[str, dict[str, Any]] = PIPELINE["stages"]
# Imported everywhere; they only read params, report errors and write files, so no result depends on them.
PLUMBING = {"errors", "files", "params", "report"}


def _files(entries: list[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def _imports(module: Path) -> set[str]:
    """Return the names of the rerank modules that ``module`` imports, directly or through another."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "rerank":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rerank."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("rerank.")}
    return found.union(*(_imports(ROOT / f"src/rerank/{name}.py") for name in found))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_the_module_of_its_name_from_its_own_checkout(name: str) -> None:
    assert STAGES[name]["cmd"].startswith(f"PYTHONPATH=src python -m stages.{name} ")
    assert (ROOT / f"src/stages/{name}.py").exists()
    assert (ROOT / f"tests/test_{name}.py").exists()


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_says_what_it_does_and_depends_on_the_code_that_it_imports(name: str) -> None:
    assert STAGES[name]["desc"]
    module = ROOT / f"src/stages/{name}.py"
    expected = {f"src/stages/{name}.py"} | {f"src/rerank/{used}.py" for used in _imports(module) - PLUMBING}
    assert {dep for dep in STAGES[name]["deps"] if dep.startswith("src/")} == expected


@pytest.mark.parametrize("name", STAGES)
def test_every_path_in_a_command_is_tracked_and_the_other_way_round(name: str) -> None:
    stage = STAGES[name]
    tracked = {dep for dep in stage["deps"] if not dep.startswith("src/")}
    tracked |= set(_files(stage.get("outs", []) + stage.get("metrics", []) + stage.get("plots", [])))
    words = [word.strip("'\"") for word in stage["cmd"].split()[4:]]
    for word in words:
        assert any(path == word or path.startswith(word + "/") for path in tracked), f"{word} is not tracked"
    for path in tracked:
        assert any(path == word or path.startswith(word + "/") for word in words), f"{path} is not in the command"


def test_stages_never_import_stages_and_only_the_pipeline_knows_paths() -> None:
    for module in (ROOT / "src").rglob("*.py"):
        text = module.read_text()
        assert not re.search(r"^\s*(from|import) stages", text, re.M), module
        if module.parent.name == "stages":
            assert not re.search(r"Path\(['\"](data|models|metrics|plots)", text), module


def test_every_param_is_declared_by_a_stage_and_every_declared_param_is_known() -> None:
    declared = {param for stage in STAGES.values() for param in stage.get("params", [])}
    declared |= set(re.findall(r"\$\{(\w+)\}", (ROOT / "dvc.yaml").read_text()))
    assert declared == set(SCHEMA) == set(YAML(typ="safe").load(ROOT / "params.yaml"))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_reads_exactly_the_params_that_it_declares(name: str) -> None:
    """By key, as the columns of the source, or as the keyword arguments of its core."""
    source = (ROOT / f"src/stages/{name}.py").read_text()
    read = set(re.findall(r"params(?:\[|\.pop\()['\"](\w+)['\"]", source))
    if "SourceColumns.from_params(params)" in source:
        read |= {field.name for field in fields(SourceColumns)}
    if "**params" in source or "**core" in source:
        core = getattr(importlib.import_module(f"stages.{name}"), name)
        read |= {key for key in inspect.signature(core).parameters if key in SCHEMA}
    if name == "base":
        read |= set(re.findall(r'"(base_\w+|bi_encoder\w*)"', source))
    assert read == set(STAGES[name].get("params", []))


def test_every_param_has_a_comment_on_what_it_changes() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+:", line):
            above = next(previous for previous in reversed(lines[:number]) if not re.match(r"\w+:", previous))
            assert above.startswith("#"), line


def test_every_metric_and_plot_for_reviews_is_in_git() -> None:
    for stage in STAGES.values():
        for entry in [*stage.get("metrics", []), *stage.get("plots", [])]:
            assert next(iter(entry.values())) == {"cache": False}


def test_the_readme_shows_the_commands_that_have_to_work() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in ("make repro", "make test", "dvc repro", "dvc metrics diff", "dvc exp run -S lr=3e-5"):
        assert command in readme


def test_no_credential_and_no_account_is_committed() -> None:
    pattern = re.compile(r"AKIA[0-9A-Z]{16}|[0-9a-f]{32}\.r2\.cloudflarestorage|-----BEGIN [A-Z ]*PRIVATE" + " KEY")
    for path in ROOT.rglob("*"):
        if path.is_file() and path.suffix in {".py", ".md", ".yaml", ".yml", ".toml"} and ".venv" not in path.parts:
            assert not pattern.search(path.read_text(errors="replace")), path
