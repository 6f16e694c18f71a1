"""`python -m rerank --pairs`: files and folders of any size, interrupted and repeated."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from model_folders import scoring_as
from sentence_transformers import CrossEncoder
from torch import nn

from rerank.errors import UserError
from rerank.model.folder import Scoring
from rerank.serve import scoring

SOURCE = Path(__file__).parents[1] / "src"
NAMES = ("a.parquet", "year=2025/b.parquet", "year=2025/c.parquet")
Score = Callable[..., None]


def pairs(rows: int, *, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    words = np.array(["dune", "emma", "it", "ulysses", "persuasion", "hyperion"])
    texts = [" ".join(rng.choice(words, size)) for size in rng.integers(1, 12, 2 * rows)]
    return pd.DataFrame({"user_ctx": texts[:rows], "book_text": texts[rows:], "grade": rng.integers(0, 5, rows)})


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "rerank", "--pairs", "pairs", "--output", "scored", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE)}


def logits(folder: Path, table: pd.DataFrame, *, turned: bool = False) -> np.ndarray:
    """What plain sentence-transformers gives, for the two texts the other way round when ``turned``."""
    columns = ["book_text", "user_ctx"] if turned else ["user_ctx", "book_text"]
    plain = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    return plain.predict(list(table[columns].itertuples(index=False, name=None)), activation_fn=nn.Identity())


def written(folder: Path) -> dict[str, int]:
    """Return the time of writing of each file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the three parts `NAMES` in pairs/, of unlike row groups."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(NAMES):
        path = tmp_path / "pairs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pairs(50, seed=number).to_parquet(path, row_group_size=(7, 50, 1000)[number])
    return tmp_path


@pytest.fixture(scope="module")
def ranking(cross_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that scores in fp32."""
    return scoring_as(cross_encoder, tmp_path_factory.mktemp("ranking") / "model")


@pytest.fixture
def score(ranking: Path) -> Score:
    def score(source: str = "pairs", output: str = "scored", **options: object) -> None:
        columns = {"context_column": "user_ctx", "text_column": "book_text"}
        scoring.score_pairs(source, output, **{"model_folder": ranking, "engine": "torch", **columns, **options})

    return score


def test_each_file_of_a_folder_becomes_one_with_its_rows_its_types_and_their_scores(
    ranking: Path, job: Path, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "BATCH_ROWS", 16)
    schema = pa.schema(
        [
            pa.field("user_ctx", pa.large_string(), nullable=False),
            pa.field("book_text", pa.dictionary(pa.int32(), pa.string()), metadata={"from": "shop"}),
            pa.field("favourites", pa.list_(pa.struct([("id", pa.int16()), ("since", pa.timestamp("us", "UTC"))]))),
        ],
        metadata={"made by": "hand"},
    )
    texts = pairs(40)
    favourites = [[{"id": number, "since": None}] if number % 3 else None for number in range(40)]
    table = pa.table([texts["user_ctx"], texts["book_text"], favourites], schema=schema)
    pq.write_table(table, "pairs/a.parquet", row_group_size=9)
    score()
    assert sorted(written(job / "scored")) == sorted(NAMES)
    scored = pq.read_table("scored/a.parquet")
    assert scored.drop_columns("score").equals(table)
    assert scored.schema.field("book_text").metadata == {b"from": b"shop"}
    assert scored.schema.metadata[b"made by"] == b"hand"
    np.testing.assert_allclose(scored["score"], logits(ranking, texts), atol=1e-4)


def test_a_symmetric_model_gives_the_mean_of_both_orders(
    job: Path, cross_encoder: Path, score: Score, tmp_path: Path
) -> None:
    folder = scoring_as(cross_encoder, tmp_path / "model", symmetric=True, task="similarity", max_grade=5)
    score("pairs/a.parquet", "scored.parquet", model_folder=folder)
    table = pd.read_parquet("scored.parquet")
    there, back = logits(folder, table), logits(folder, table, turned=True)
    assert np.abs(there - back).max() > 1e-3
    np.testing.assert_allclose(table["score"], (there + back) / 2, atol=1e-4)


def test_the_scores_of_a_part_are_those_of_the_file_alone(job: Path, score: Score) -> None:
    score()
    for name in NAMES:
        score(f"pairs/{name}", "alone.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet("alone.parquet"), pd.read_parquet(f"scored/{name}"))


def test_a_repeated_command_scores_only_what_is_missing(
    job: Path, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    score()
    (job / "scored" / NAMES[1]).unlink()
    before = written(job / "scored")
    score("pairs/", "scored/")
    after = written(job / "scored")
    assert "scored/: parts finished already: 2 of 3\n" in capsys.readouterr().err
    assert after.keys() == set(NAMES) and after.items() > before.items()
    score()
    assert capsys.readouterr().err == "scored: parts finished already: 3 of 3\n"
    assert written(job / "scored") == after


def test_parts_of_another_input_column_model_way_or_precision_are_scored_again(
    job: Path, ranking: Path, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(**options: object) -> list[str]:
        score(**options)
        return [line for line in capsys.readouterr().err.splitlines() if line.startswith("scored:")]

    score()
    capsys.readouterr()
    pairs(60).to_parquet("pairs/a.parquet")
    assert told() == [
        "scored: parts made with another input, scored again: 1",
        "scored: parts finished already: 2 of 3",
    ]
    assert len(pd.read_parquet("scored/a.parquet")) == 60
    assert told(text_column="user_ctx") == ["scored: parts made with another text_column, scored again: 3"]
    score()
    other = Path(shutil.copytree(ranking, "other"))
    (other / "README.md").write_text("Only words.")
    assert told(model_folder=other)[-1] == "scored: parts finished already: 3 of 3"
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert told(model_folder=other) == ["scored: parts made with another model, scored again: 3"]
    Scoring(symmetric=True, max_length=64, precision="fp32").write(other)
    assert told(model_folder=other) == ["scored: parts made with another model, scored again: 3"]
    elsewhere = replace(scoring.HERE, precision=lambda engine, precision: "bf16")
    assert told(model_folder=other, workplace=elsewhere) == [
        "scored: parts made with another precision, scored again: 3"
    ]
    assert told(model_folder=other, workplace=elsewhere) == ["scored: parts finished already: 3 of 3"]


def test_auto_is_one_precision_that_is_recorded(job: Path, cross_encoder: Path, score: Score, tmp_path: Path) -> None:
    folder = scoring_as(cross_encoder, tmp_path / "auto", precision="auto")
    score("pairs/a.parquet", "auto.parquet", model_folder=folder)
    resolved = scoring.precision_here("torch", "auto")
    assert resolved in ("fp32", "bf16") and scoring.precision_here("torch", "fp32") == "fp32"
    folder = scoring_as(cross_encoder, tmp_path / "named", precision=resolved)
    score("pairs/a.parquet", "named.parquet", model_folder=folder)
    pd.testing.assert_frame_equal(pd.read_parquet("auto.parquet"), pd.read_parquet("named.parquet"))
    assert f'"precision": "{resolved}"' in str(pq.read_schema("auto.parquet").metadata)


def test_a_killed_job_loses_its_unfinished_part_alone(job: Path, ranking: Path, score: Score) -> None:
    for number in range(4):
        pairs(2000, seed=number).to_parquet(f"pairs/large {number}.parquet")
    process = subprocess.Popen(command("--model", ranking), env=environment(), stderr=subprocess.DEVNULL)
    try:
        while not (Path("scored/large 0.parquet").exists() and list(Path("scored").glob(".*.partial"))):
            assert process.poll() is None, "the job is over before it could be killed"
            time.sleep(0.001)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = {name: time for name, time in written(job / "scored").items() if name.endswith(".parquet")}
    assert "large 0.parquet" in before and "year=2025/c.parquet" not in before
    for name in before:
        assert pq.read_metadata(f"scored/{name}").num_rows == pq.read_metadata(f"pairs/{name}").num_rows
    result = subprocess.run(command("--model", ranking), env=environment(), capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    assert f"scored: parts finished already: {len(before)} of 7\n" in result.stderr
    after = written(job / "scored")
    assert after.keys() == written(job / "pairs").keys() and after.items() > before.items()
    score(output="at once")
    for name in after:
        pd.testing.assert_frame_equal(pd.read_parquet(f"scored/{name}"), pd.read_parquet(f"at once/{name}"))


PEAK = """
import sys
from pathlib import Path
import numpy as np
from rerank.serve.parts import Recipe, find_parts
from rerank.serve.scoring import score_part
columns = {"context_column": "user_ctx", "text_column": "book_text"}
(part,) = find_parts(sys.argv[1], "scored.parquet", **columns)
recipe = Recipe(**columns, model="", precision="", engine="")
for _ in score_part(part, recipe, lambda contexts, texts: np.zeros(len(texts))):
    pass
(peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for rows in (30_000, 300_000):
        letters = np.random.default_rng(0).bytes(rows * 150).hex()
        texts = pa.array([letters[start : start + 300] for start in range(0, len(letters), 300)])
        table = pa.table({"user_ctx": texts, "book_text": texts})
        pq.write_table(table, tmp_path / "pairs.parquet", row_group_size=rows, compression="none", use_dictionary=False)
        arguments = [sys.executable, "-c", PEAK, "pairs.parquet"]
        result = subprocess.run(arguments, cwd=tmp_path, env=environment(), capture_output=True, encoding="utf-8")
        assert result.returncode == 0, result.stderr
        peaks.append(int(result.stdout))
    assert (tmp_path / "scored.parquet").stat().st_size > 170e6
    assert peaks[1] < peaks[0] + 60, f"MiB at the peak: {peaks}"


def test_a_file_without_rows_is_a_part_too(job: Path, score: Score) -> None:
    pairs(3).head(0).to_parquet("pairs/a.parquet")
    score()
    assert pq.read_schema("scored/a.parquet").names[-1] == "score" and len(pd.read_parquet("scored/a.parquet")) == 0


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
def test_nothing_is_written_over_its_own_input(source: str, output: str, job: Path, score: Score) -> None:
    Path("link.parquet").symlink_to("pairs/a.parquet")
    Path("twin.parquet").hardlink_to("pairs/a.parquet")
    Path("linked").symlink_to("pairs")
    Path("filled/year=2025").mkdir(parents=True)
    Path("filled/a.parquet").symlink_to(job / "pairs/a.parquet")
    before = {path: path.read_bytes() for path in (job / "pairs").rglob("*.parquet")}
    with pytest.raises(UserError, match=r"give another --output$") as error:
        score(source, output.format(here=job))
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in (job / "pairs").rglob("*.parquet")} == before
    assert Path("link.parquet").is_symlink() and Path("filled/a.parquet").is_symlink()


def test_a_null_in_a_later_part_keeps_the_finished_ones(job: Path, score: Score) -> None:
    pairs(3).assign(book_text=["a", None, "b"]).to_parquet("pairs/year=2025/c.parquet")
    with pytest.raises(UserError, match=r"^pairs/year=2025/c\.parquet: column 'book_text' holds None"):
        score()
    assert sorted(written(job / "scored")) == ["a.parquet", "year=2025/b.parquet"]


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("pairs", "pairs/scored", "pairs/scored: lies within --pairs"),
        ("pairs", "pairs", "pairs: lies within --pairs"),
        ("pairs", ".", r"\.: lies within --pairs, or around it"),
        ("pairs", "note.txt", "note.txt: is a file: give a folder as --output"),
        ("pairs", "none/scored", "none/scored: the folder none does not exist"),
        ("pairs", "foreign", "foreign/a.parquet: was not written by this command"),
        ("pairs", "stale", "stale: old.parquet has no counterpart in pairs"),
        ("empty", "scored", r"empty: no such file, nor a folder that holds \.parquet files"),
        ("broken", "scored", r"broken/a\.parquet: not a readable parquet file"),
        ("mixed", "scored", r"mixed/b\.parquet: column 'book_text' is missing"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    source: str, output: str, message: str, job: Path, score: Score
) -> None:
    for folder in ("empty", "broken", "mixed", "foreign", "stale"):
        (job / folder).mkdir()
    Path("note.txt").write_text("kept")
    Path("broken/a.parquet").write_text("no parquet")
    pairs(3).to_parquet("mixed/a.parquet")
    pairs(3).drop(columns="book_text").to_parquet("mixed/b.parquet")
    pairs(3).to_parquet("foreign/a.parquet")
    pairs(3).to_parquet("stale/old.parquet")
    before = written(job)
    with pytest.raises(UserError, match=f"^{message}") as error:
        score(source, output)
    assert "\n" not in str(error.value)
    assert written(job) == before


def test_parts_of_another_engine_are_scored_again(job: Path, score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino", reason="an extra: pip install -r requirements-extras.txt")
    score()
    expected = {name: pd.read_parquet(f"scored/{name}") for name in NAMES}
    capsys.readouterr()
    score(engine="openvino")
    assert "scored: parts made with another engine, scored again: 3\n" in capsys.readouterr().err
    for name, scored in expected.items():
        pd.testing.assert_frame_equal(pd.read_parquet(f"scored/{name}"), scored, rtol=0, atol=1e-4)


@pytest.mark.parametrize("content", ["{", '{"precision": "fp64"}'])
def test_a_damaged_scoring_json_is_one_line_before_anything_is_scored(
    content: str, job: Path, ranking: Path, score: Score
) -> None:
    folder = Path(shutil.copytree(ranking, "damaged"))
    (folder / "scoring.json").write_text(content)
    with pytest.raises(UserError, match=r"^damaged/scoring\.json: ") as error:
        score(model_folder=folder)
    assert "\n" not in str(error.value) and not Path("scored").exists()
