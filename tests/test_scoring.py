"""`python -m rerank --pairs`: files and folders of any size, interrupted and repeated."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoTokenizer, ModernBertConfig, ModernBertModel

from rerank.errors import UserError
from rerank.model.encoder import build
from rerank.model.folder import Scoring
from rerank.model.ranker import load
from rerank.serve import scoring, texts

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


@pytest.fixture
def score(cross_encoder: Path) -> Score:
    def score(source: str = "pairs", output: str = "scored", **options: object) -> None:
        columns = {"context_column": "user_ctx", "text_column": "book_text"}
        scoring.score_pairs(source, output, **{"model_folder": cross_encoder, "engine": "torch", **columns, **options})

    return score


def test_each_file_of_a_folder_becomes_one_with_its_rows_its_types_and_their_scores(
    cross_encoder: Path, job: Path, score: Score, monkeypatch: pytest.MonkeyPatch
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
    expected = load(cross_encoder).score(texts["user_ctx"].tolist(), texts["book_text"].tolist())
    np.testing.assert_allclose(scored["score"], expected, atol=1e-3)


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


def test_files_that_are_no_part_are_told(job: Path, score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("_SUCCESS", "more.csv"):
        (job / "pairs" / name).touch()
    score()
    assert "pairs: left out 2: _SUCCESS, more.csv\n" in capsys.readouterr().err
    assert written(job / "scored").keys() == set(NAMES)


def test_parts_of_another_input_column_model_or_precision_are_scored_again(
    job: Path, cross_encoder: Path, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    def scored_again(**options: object) -> list[str]:
        score(**options)
        return [line for line in capsys.readouterr().err.splitlines() if line.startswith("scored:")]

    score()
    capsys.readouterr()
    pairs(60).to_parquet("pairs/a.parquet")
    assert scored_again() == [
        "scored: parts made with another input, scored again: 1",
        "scored: parts finished already: 2 of 3",
    ]
    assert len(pd.read_parquet("scored/a.parquet")) == 60
    assert scored_again(text_column="user_ctx") == ["scored: parts made with another text_column, scored again: 3"]
    score()
    shutil.copytree(cross_encoder, "other")
    Path("other/README.md").write_text("Only words.")
    Path("other/training.json").write_text("{}")
    assert scored_again(model_folder=Path("other"))[-1] == "scored: parts finished already: 3 of 3"
    weights = bytearray(Path("other/model.safetensors").read_bytes())
    weights[-1] ^= 1
    Path("other/model.safetensors").write_bytes(weights)
    assert scored_again(model_folder=Path("other")) == ["scored: parts made with another model, scored again: 3"]
    others = scoring.Workers(lambda engine, precision: {"fp32": "bf16"}[precision], scoring.score_here)
    score(model_folder=Path("other"), workers=others)
    assert "scored: parts made with another precision, scored again: 3\n" in capsys.readouterr().err


def test_a_killed_job_loses_its_unfinished_part_alone(job: Path, cross_encoder: Path, score: Score) -> None:
    for number in range(4):
        pairs(2000, seed=number).to_parquet(f"pairs/large {number}.parquet")
    process = subprocess.Popen(command("--model", cross_encoder), env=environment(), stderr=subprocess.DEVNULL)
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
    result = subprocess.run(command("--model", cross_encoder), env=environment(), capture_output=True, encoding="utf-8")
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


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process's own peak (VmHWM), without its parent's"
)
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


def test_the_scores_of_a_table_are_made_as_the_model_was_measured(
    job: Path, cross_encoder: Path, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both orders, where the folder says so; and a folder that says something else makes other scores."""
    shutil.copytree(cross_encoder, "both")
    Scoring(symmetric=True, max_length=64, precision="fp32", task="duplicates").write(Path("both"))
    shutil.copytree(cross_encoder, "one")
    Scoring(max_length=64, precision="fp32").write(Path("one"))
    texts = pairs(50)
    columns = texts["user_ctx"].tolist(), texts["book_text"].tolist()
    one = load(Path("one"))
    forth, back = one.score(*columns), one.score(*columns[::-1])
    assert np.abs(forth - back).max() > 1e-3
    for folder, expected in (("one", forth), ("both", (forth + back) / 2)):
        score(model_folder=Path(folder))
        np.testing.assert_allclose(pd.read_parquet("scored/a.parquet")["score"], expected, atol=1e-5)
    assert "scored: parts made with another model, scored again: 3" in capsys.readouterr().err


def test_a_part_that_is_its_own_output_through_a_link_is_refused(job: Path, score: Score) -> None:
    Path("scored").mkdir()
    Path("pairs/a.parquet").rename("scored/a.parquet")
    Path("pairs/a.parquet").symlink_to("../scored/a.parquet")
    before = written(job)
    with pytest.raises(UserError, match=r"^scored/a\.parquet: is pairs/a\.parquet itself, which would be overwritten"):
        score()
    assert written(job) == before


def with_row(row: int, text: str | None) -> pa.Table:
    """Return 20,000 pairs of which one text, by row from 1, is another."""
    texts = [f"tale {number % 50}" for number in range(20_000)]
    texts[row - 1] = text  # type: ignore[call-overload]
    return pa.table({"user_ctx": ["dune"] * len(texts), "book_text": pa.array(texts, pa.string())})


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("column", ["user_ctx", "book_text"])
@pytest.mark.parametrize("row", [1, 17_000, 20_000])
def test_a_null_in_a_later_part_is_one_line_before_anything_is_scored(
    row: int, column: str, statistics: bool, job: Path, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "ranker_of", lambda *_: pytest.fail("a model was loaded"))
    table = with_row(row, None)
    if column == "user_ctx":
        table = table.rename_columns(["book_text", "user_ctx"])
    pq.write_table(table, "pairs/year=2025/c.parquet", write_statistics=statistics, row_group_size=4_000)
    message = (
        f"pairs/year=2025/c.parquet: column '{column}' is null in 1 of 20,000 rows, the first is row {row:,}: "
        "give each a text, or drop these rows"
    )
    with pytest.raises(UserError) as error:
        score()
    assert str(error.value) == message
    assert not Path("scored").exists()


def test_a_footer_alone_says_that_a_part_elsewhere_has_no_nulls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part in a bucket is not read twice, unless its footer counts nulls, or says nothing of them."""
    monkeypatch.setattr(texts.stores, "is_local", lambda address: False)
    monkeypatch.setattr(texts.stores, "opened", lambda address: io.BytesIO(Path(address).read_bytes()))
    read: list[str] = []
    monkeypatch.setattr(texts, "_broken", lambda values: read.append("column"))
    for name, row, statistics, columns in (("a", None, True, 0), ("b", 9, True, 4), ("c", None, False, 4)):
        table = with_row(row or 1, None if row else "text")
        pq.write_table(table, tmp_path / name, write_statistics=statistics)
        read.clear()
        if row:
            with pytest.raises(UserError, match="is null in 1 of 20,000 rows, the first is row 9"):
                texts.check_texts(str(tmp_path / name), ["user_ctx", "book_text"])
        else:
            texts.check_texts(str(tmp_path / name), ["user_ctx", "book_text"])
        assert len(read) == columns


def test_a_text_that_is_not_utf_8_and_a_damaged_page_are_one_line_before_anything_is_scored(
    job: Path, score: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "ranker_of", lambda *_: pytest.fail("a model was loaded"))
    latin = pa.array([b"caf\xc3\xa9"] * 18_000 + [b"caf\xe9"], pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"user_ctx": ["dune"] * 18_001, "book_text": latin}), "pairs/a.parquet")
    with pytest.raises(UserError, match=r"^pairs/a\.parquet: column 'book_text', row 18,001: is not UTF-8 text"):
        score()
    pq.write_table(with_row(1, "text"), "pairs/a.parquet", row_group_size=5_000, compression="none")
    metadata = pq.read_metadata("pairs/a.parquet")
    content = bytearray(Path("pairs/a.parquet").read_bytes())
    start = metadata.row_group(3).column(1).data_page_offset
    content[start : start + 40] = b"\xff" * 40
    Path("pairs/a.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"^pairs/a\.parquet: can't be read after row [\d,]+ \(.+\): write it again$"):
        score()
    assert not Path("scored").exists()


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (pa.array([1, 2]), "holds int64, not text"),
        (pa.array([None, None], pa.null()), "holds null, not text"),
        (pa.array([b"a", b"b"]), "holds binary, not text"),
        (pa.array([["a"], ["b"]]), "holds list<element: string>, not text"),
    ],
)
def test_a_column_that_holds_no_text_is_one_line_before_anything_is_scored(
    texts: pa.Array, words: str, job: Path, score: Score
) -> None:
    pq.write_table(pa.table({"user_ctx": ["a", "b"], "book_text": texts}), "pairs/year=2025/c.parquet")
    with pytest.raises(UserError, match=r"^pairs/year=2025/c\.parquet: column 'book_text' ") as error:
        score()
    assert words in str(error.value) and not Path("scored").exists()


def test_a_column_that_is_there_twice_is_one_line(job: Path, score: Score) -> None:
    names, columns = ["user_ctx", "book_text", "book_text"], [pa.array(["a"])] * 3
    pq.write_table(pa.Table.from_arrays(columns, names=names), "pairs/a.parquet")
    with pytest.raises(UserError, match=r"^pairs/a\.parquet: column 'book_text' is there 2 times"):
        score()


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


def test_openvino_gives_the_scores_of_torch_and_scores_the_parts_of_torch_again(
    job: Path, cross_encoder: Path, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino", reason="an extra: pip install -r requirements-extras.txt")
    score()
    expected = {name: pd.read_parquet(f"scored/{name}") for name in NAMES}
    capsys.readouterr()
    score(engine="openvino")
    assert "scored: parts made with another engine, scored again: 3\n" in capsys.readouterr().err
    for name, scored in expected.items():
        found = pd.read_parquet(f"scored/{name}")
        assert np.corrcoef(found["score"], scored["score"])[0, 1] > 0.999
        pd.testing.assert_frame_equal(found.drop(columns="score"), scored.drop(columns="score"))
    texts = pairs(40)
    columns = texts["user_ctx"].tolist(), texts["book_text"].tolist()
    exact, found = (
        load(cross_encoder, engine=engine, precision="fp32").score(*columns) for engine in ("torch", "openvino")
    )
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_a_model_whose_steps_depend_on_a_length_is_refused_by_openvino(cross_encoder: Path) -> None:
    pytest.importorskip("openvino", reason="an extra: pip install -r requirements-extras.txt")
    from rerank.model.openvino import compiled

    class ByLength(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {**features, "scores": features["scores"] * int(features["input_ids"].shape[1])}

    whole = load(cross_encoder, engine="openvino").model
    compiled(whole, precision="fp32")
    whole.append(ByLength())
    with pytest.raises(UserError, match=r"^OpenVINO can't score this model: its graph gives other scores: use torch$"):
        compiled(whole, precision="fp32")


def test_a_window_of_attention_that_leaves_padding_without_a_key_is_refused_by_openvino(
    tmp_path: Path, tiny_bert: Callable[..., Path]
) -> None:
    pytest.importorskip("openvino", reason="an extra: pip install -r requirements-extras.txt")
    words = AutoTokenizer.from_pretrained(tiny_bert(tmp_path))
    sizes = {"vocab_size": len(words), "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    config = ModernBertConfig(**sizes, **special, intermediate_size=64, local_attention=16, max_position_embeddings=128)
    ModernBertModel(config).save_pretrained(tmp_path)
    build(tmp_path, max_length=100, dropout=0.0, seed=1).save_pretrained(str(tmp_path / "ranker"))
    with pytest.raises(UserError, match=r"^OpenVINO can't score this model"):
        load(tmp_path / "ranker", engine="openvino", precision="fp32")


def test_openvino_reports_nothing_to_its_makers(cross_encoder: Path) -> None:
    pytest.importorskip("openvino", reason="an extra: pip install -r requirements-extras.txt")
    program = (
        "import sys; from pathlib import Path; from rerank.model.ranker import load; "
        "load(Path(sys.argv[1]), engine='openvino', progress=False).score(['a'], ['b']); "
        "assert sys.modules['openvino_telemetry'] is None"
    )
    subprocess.run([sys.executable, "-c", program, cross_encoder], env=environment(), check=True)


def test_without_openvino_one_line_says_how_to_get_it(cross_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"^OpenVINO is not installed: pip install -r requirements-extras\.txt$"):
        load(cross_encoder, engine="openvino")


def test_an_unknown_engine_is_one_line(cross_encoder: Path) -> None:
    with pytest.raises(UserError, match=r"^--engine: no engine is called 'tpu': give one of torch, openvino$"):
        load(cross_encoder, engine="tpu")
