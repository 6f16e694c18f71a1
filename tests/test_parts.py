"""Nothing is written over the input of a scoring job, whatever its paths are called."""

from pathlib import Path

import pandas as pd
import pytest

from rerank.errors import UserError
from rerank.serve.parts import find_parts, left_out


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("pairs/a.parquet", "pairs/a.parquet"),
        ("pairs/a.parquet", "./pairs/../pairs//a.parquet"),
        ("pairs/a.parquet", "{here}/pairs/a.parquet"),
        ("pairs/a.parquet", "link.parquet"),
        ("link.parquet", "pairs/a.parquet"),
        ("pairs/a.parquet", "twin.parquet"),
        ("linked/a.parquet", "pairs/a.parquet"),
        ("pairs", "pairs"),
        ("pairs", "./pairs/"),
        ("pairs", "linked"),
        ("linked", "pairs"),
        ("pairs", "pairs/year=2025"),
        ("pairs", "linked/scored"),
        ("pairs/year=2025", "pairs"),
        ("pairs", "."),
        ("pairs", "filled"),
    ],
)
def test_nothing_is_written_over_its_own_input(
    source: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pairs/a.parquet", "pairs/year=2025/b.parquet"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"user_ctx": ["Dune"], "book_text": ["Emma"]}).to_parquet(name)
    Path("link.parquet").symlink_to("pairs/a.parquet")
    Path("twin.parquet").hardlink_to("pairs/a.parquet")
    Path("linked").symlink_to("pairs")
    Path("filled").mkdir()
    Path("filled/a.parquet").symlink_to(tmp_path / "pairs/a.parquet")
    columns = {"context_column": "user_ctx", "text_column": "book_text"}
    with pytest.raises(UserError, match=r"give another --output$") as error:
        find_parts(source, output.format(here=tmp_path), **columns)
    assert "\n" not in str(error.value)
    (part,) = find_parts("pairs/a.parquet", "scored.parquet", **columns)
    assert (part.source, part.target, part.rows) == ("pairs/a.parquet", "scored.parquet", 1)


def test_each_file_of_a_folder_is_a_part_or_left_out_by_the_rule_of_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parts = ["A.PARQUET", "b.pq", "c.parquet.gzip", "linked/d[1].parquet", "year=2025/e.parquet"]
    for name in (*parts, "_old.parquet", "x/.f.parquet"):
        Path("pairs", name).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"user_ctx": ["Dune"], "book_text": ["Emma"]}).to_parquet(Path("pairs", name))
    Path("pairs/linked").rename("elsewhere")
    Path("pairs/linked").symlink_to("../elsewhere")
    Path("pairs/loop").symlink_to(".")
    for name in ("_SUCCESS", "g.csv"):
        Path("pairs", name).touch()
    found = find_parts("pairs", "scored", context_column="user_ctx", text_column="book_text")
    assert [part.source for part in found] == [f"pairs/{name}" for name in parts]
    assert left_out("pairs") == ["_SUCCESS", "_old.parquet", "g.csv", "x/.f.parquet"]
    assert left_out("pairs/b.pq") == []
    Path("pairs/gone.parquet").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"gone.parquet: is a link to nothing: mend or delete it"):
        find_parts("pairs", "scored", context_column="user_ctx", text_column="book_text")
    Path("pairs/gone.parquet").unlink()
    Path("pairs/_delta_log").mkdir()
    Path("pairs/_delta_log/0.json").touch()
    with pytest.raises(UserError, match=r"^pairs: is a Delta table .*: write its rows as plain parquet"):
        find_parts("pairs", "scored", context_column="user_ctx", text_column="book_text")
