"""A reader sees the old file, the new file, or none."""

from pathlib import Path

import pytest

from rerank.errors import UserError
from rerank.files import replacing
from rerank.json_file import write_json


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "kept") as partial:
        partial.write_text("half")
        raise RuntimeError
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kept": "old"}


def test_a_folder_replaces_a_folder_with_all_that_was_in_it(tmp_path: Path) -> None:
    (tmp_path / "folder/old").mkdir(parents=True)
    with replacing(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "new").write_text("")
        assert (tmp_path / "folder/old").exists()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]


def test_a_file_never_replaces_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder/old").mkdir(parents=True)
    with pytest.raises(UserError, match="folder: is a folder"), replacing(tmp_path / "folder") as partial:
        partial.write_text("")
    assert (tmp_path / "folder/old").exists()


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"map": float("nan")})
    assert list(tmp_path.iterdir()) == []
