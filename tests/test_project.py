"""dvc.yaml, params.yaml, the code and the README are held to each other."""

import ast
import functools
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rerank import params
from rerank.command import parser
from rerank.data.formats import FORMATS
from rerank.data.shapes import SHAPES
from rerank.systems.registry import SYSTEMS

ROOT = Path(__file__).parent.parent
FOLDERS = [ROOT, *sorted(file.parent for file in ROOT.glob("tasks/*/dvc.yaml"))]
PIPELINES: dict[Path, dict[str, Any]] = {
    folder: YAML(typ="safe").load(folder / "dvc.yaml")["stages"] for folder in FOLDERS
}
STAGES = pytest.mark.parametrize(
    ("folder", "name"),
    [
        pytest.param(folder, name, id=f"{folder.name}-{name}" if folder != ROOT else name)
        for folder, stages in PIPELINES.items()
        for name in stages
    ],
)
# What only carries bytes or words: no output of a stage depends on it, and a better message costs no training.
CARRIERS = {
    "errors",
    "files",
    "command",
    "params",
    "params_file",
    "launching",
    "data/fetch",
    "data/archives",
    "data/stores",
    "measure/report",
    "measure/seeds",
}


def _src(folder: Path) -> str:
    """Return the way from a pipeline's folder to src, as dvc.yaml writes it."""
    return "src" if folder == ROOT else "../../src"


def _module(folder: Path, name: str) -> str:
    """Return the name of the stage module that a stage runs."""
    found = re.match(rf"PYTHONPATH={_src(folder)} python -m stages\.(\w+) --", PIPELINES[folder][name]["cmd"])
    assert found, PIPELINES[folder][name]["cmd"]
    return found[1]


def _params(entries: list[Any], *, file: str | None = None) -> set[str]:
    """Return the keys that a stage declares: all of them, or those from the file of that name, "" for its own."""
    own = {entry for entry in entries if isinstance(entry, str)}
    others = {path: set(keys) for entry in entries if isinstance(entry, dict) for path, keys in entry.items()}
    return own.union(*others.values()) if file is None else own if file == "" else others.get(file, set())


def _files(entries: list[Any]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def _named(functions: list[str]) -> set[str]:
    """Return the modules of functions that are named as ``rerank.ROOM.MODULE:FUNCTION``."""
    matches = (re.fullmatch(r"rerank\.([\w.]+):\w+", function) for function in functions)
    return {match[1].replace(".", "/") for match in matches if match}


@functools.cache
def _imports(module: Path) -> frozenset[str]:
    """Return the names (ROOM/MODULE) of the rerank modules that ``module`` imports, directly or through another."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rerank":
            below = str(node.module).split(".")[1:]
            found |= {"/".join([*below, alias.name]) for alias in node.names} | {"/".join(below)}
        elif isinstance(node, ast.Constant) and module.name not in ("registry.py", "formats.py", "shapes.py"):
            found |= _named([str(node.value)])
    if module.name == "conversion.py":  # it calls the readers that the formats name; who fetches a source calls none
        found |= _named([kind.reader for kind in FORMATS.values() if kind.reader])
    if module.name == "shaping.py":  # and the makers that the shapes name
        found |= _named([name for kind in SHAPES.values() for name in (kind.maker, kind.reader) if name])
    found = {name for name in found if (ROOT / f"src/rerank/{name}.py").is_file()}
    return frozenset(found.union(*(_imports(ROOT / f"src/rerank/{name}.py") for name in found)))


def code_of(folder: Path, name: str) -> set[str]:
    """Return the code that decides the bytes of a stage's outputs: what it imports, and the scorers that it names."""
    stage, src, module = PIPELINES[folder][name], _src(folder), _module(folder, name)
    used = _imports(ROOT / f"src/stages/{module}.py")
    for system in re.findall(r"(\w+)(?:=\S+)?", stage["cmd"].partition("--systems ")[2]):
        if system in SYSTEMS:
            opener = SYSTEMS[system].opener.partition(":")[0].removeprefix("rerank.").replace(".", "/")
            used |= {opener} | _imports(ROOT / f"src/rerank/{opener}.py")
    return {f"{src}/stages/{module}.py"} | {f"{src}/rerank/{one}.py" for one in used - CARRIERS}


@STAGES
def test_a_stage_runs_a_module_of_its_own_checkout_that_has_tests(folder: Path, name: str) -> None:
    module = _module(folder, name)
    assert name.startswith(module)
    assert (ROOT / f"src/stages/{module}.py").exists()
    assert (ROOT / f"tests/test_{module}.py").exists()


@STAGES
def test_a_stage_says_what_it_does_and_depends_on_the_code_that_decides_its_outputs(folder: Path, name: str) -> None:
    stage, src = PIPELINES[folder][name], _src(folder)
    assert stage["desc"]
    assert {dep for dep in stage["deps"] if dep.startswith(f"{src}/")} == code_of(folder, name)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_metric_a_picture_or_a_sentence_of_the_card_does_not_train_again(folder: Path) -> None:
    for name in PIPELINES[folder]:
        if name.startswith("train"):
            code = " ".join(code_of(folder, name))
            assert not re.search(r"metrics\.py|figures|card|report|registry|sampling|formats|evaluat", code), code


def test_what_computes_depends_on_the_versions_of_the_libraries() -> None:
    for folder, stages in PIPELINES.items():
        for name, stage in stages.items():
            computes = name.startswith(("train", "coreading", "score", "fuse", "evaluate"))
            assert (f"{_src(folder).removesuffix('src')}requirements.txt" in stage["deps"]) == computes, name


@STAGES
def test_every_path_in_a_command_is_tracked_and_the_other_way_round(folder: Path, name: str) -> None:
    stage = PIPELINES[folder][name]
    tracked = {dep for dep in stage["deps"] if "/src/" not in f"/{dep}" and not dep.endswith("requirements.txt")}
    tracked |= set(_files(stage.get("outs", []) + stage.get("metrics", []) + stage.get("plots", [])))
    words = {word.partition("=")[2] or word for word in stage["cmd"].split()[4:] if "/" in word}
    for word in words:
        assert any(f"{path}/".startswith(f"{word}/") or word.startswith(f"{path}/") for path in tracked), word
    for path in tracked - {"${source}", "${documents}"}:
        assert any(f"{path}/".startswith(f"{word}/") or word.startswith(f"{path}/") for word in words), path


@STAGES
def test_a_command_gives_its_module_the_arguments_that_it_has(folder: Path, name: str) -> None:
    """And no text of a user: what params.yaml says reaches its stage as a param, never through a shell."""
    command = PIPELINES[folder][name]["cmd"]
    parser(importlib.import_module(f"stages.{_module(folder, name)}").main).parse_args(command.split()[4:])
    assert set(re.findall(r"\$\{(\w+)", command)) <= {"item"}
    items = [item for values in PIPELINES[folder][name].get("matrix", {}).values() for item in values]
    assert all(re.fullmatch(r"[\w-]+", item) for item in items)
    assert not re.search(r"[$`;|&<>\"'\\]", re.sub(r"\$\{item\.\w+\}", "", command))


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_stage_of_a_pipeline_reads_is_there_or_made_by_another(folder: Path) -> None:
    stages = PIPELINES[folder].values()
    made = {
        path.replace("${item.loss}", value)
        for stage in stages
        for path in _files(stage.get("outs", []) + stage.get("metrics", []) + stage.get("plots", []))
        for value in stage.get("matrix", {}).get("loss", [""])
    }
    for stage in stages:
        for dep in stage["deps"]:
            inside = any(dep == path or dep.startswith(path + "/") for path in made)
            assert inside or dep.startswith("${") or (folder / dep).exists(), dep


def test_stages_never_import_stages_and_only_the_pipeline_knows_paths() -> None:
    for module in (ROOT / "src").rglob("*.py"):
        text = module.read_text()
        assert not re.search(r"^\s*(from|import) stages", text, re.M), module
        if module.parent.name == "stages":
            assert not re.search(r"Path\(['\"](data|models|metrics|plots)", text), module


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_param_of_a_file_is_declared_by_a_stage_and_every_declared_param_is_in_its_file(folder: Path) -> None:
    own = set(YAML(typ="safe").load(folder / "params.yaml"))
    project = set(YAML(typ="safe").load(ROOT / "params.yaml"))
    entries = [stage.get("params", []) for stage in PIPELINES[folder].values()]
    declared = set().union(*(_params(entry, file="") for entry in entries))
    declared |= set(re.findall(r"\$\{(\w+)\}", (folder / "dvc.yaml").read_text()))
    assert declared == own <= set(params.KEYS)
    for entry in entries:
        inherited = _params(entry, file="../../params.yaml")
        assert inherited <= project and not inherited & own


def test_every_known_param_is_in_some_file() -> None:
    assert set(params.KEYS) == set().union(*(YAML(typ="safe").load(folder / "params.yaml") for folder in FOLDERS))


@STAGES
def test_a_stage_reads_exactly_the_params_that_it_declares(folder: Path, name: str) -> None:
    """The model that its module asks for has these fields; those with a default may be left out."""
    source = (ROOT / f"src/stages/{_module(folder, name)}.py").read_text()
    models = re.findall(r"declared\((\w+), ", source)
    assert len(models) == ("params" in PIPELINES[folder][name])
    for model in models:
        fields = getattr(params, model).model_fields
        declared = _params(PIPELINES[folder][name]["params"])
        assert {key for key, field in fields.items() if field.is_required()} <= declared <= set(fields)


def test_a_key_means_the_same_to_every_stage() -> None:
    for model in params.MODELS:
        for key, field in model.model_fields.items():
            known = params.KEYS[key]
            assert (field.annotation, field.metadata, field.description) == (
                known.annotation,
                known.metadata,
                known.description,
            ), key


def test_every_param_has_a_comment_on_what_it_changes() -> None:
    lines = (ROOT / "params.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+:", line):
            above = next(previous for previous in reversed(lines[:number]) if not re.match(r"\w+:", previous))
            assert above.startswith("#"), line


def test_every_metric_and_plot_for_reviews_is_in_git() -> None:
    for stage in (stage for stages in PIPELINES.values() for stage in stages.values()):
        for entry in [*stage.get("metrics", []), *stage.get("plots", [])]:
            assert next(iter(entry.values()))["cache"] is False


def test_the_readme_shows_the_commands_that_have_to_work() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in ("make repro", "make test", "dvc repro", "dvc metrics diff", "dvc exp run -S lr=3e-5"):
        assert command in readme


def test_no_credential_and_no_account_is_committed() -> None:
    pattern = re.compile(r"AKIA[0-9A-Z]{16}|[0-9a-f]{32}\.r2\.cloudflarestorage|-----BEGIN [A-Z ]*PRIVATE" + " KEY")
    for path in ROOT.rglob("*"):
        if path.is_file() and path.suffix in {".py", ".md", ".yaml", ".yml", ".toml"} and ".venv" not in path.parts:
            assert not pattern.search(path.read_text(errors="replace")), path
