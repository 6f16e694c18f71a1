"""Nothing is written over the input of a scoring job, whatever its paths are called."""

from pathlib import Path

import pandas as pd
import pytest

from rerank.errors import UserError
from rerank.serve.parts import find_parts


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
