"""The review of a change: what is compared, how sure it is, what the page shows, and the rules."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkout import ROOT, command
from matplotlib.figure import Figure
from review_project import HOSTILE, RUN, make_project, scored

from rerank.errors import UserError
from rerank.measure.markdown import escaped, escaped_html
from rerank.measure.metrics import per_user
from rerank.review.changes import changes, of_requirements, stage_changes, stages_of
from rerank.review.comparison import MAIN, collapsed, compare, compare_kinds
from rerank.review.examples import examples
from rerank.review.rules import broken, read_rules, rule
from rerank.review.tables import score_table


def test_the_same_scores_are_the_same_and_better_ones_are_better_by_what_the_metric_says() -> None:
    base, new = scored(60, skill=0.5), scored(60, skill=1.5)
    same = compare(base, base.sample(frac=1, random_state=1), seed=1).gains["fused"][MAIN]
    assert same.verdict == "the same" and same.difference == {"value": 0, "low": 0, "high": 0}
    found = compare(base, new, seed=1)
    gain = found.gains["fused"][MAIN]
    assert found.users == (60, 60, 60) and gain.verdict == "better" and gain.p_value < 0.001
    for table, mean in ((base, gain.base), (new, gain.new)):
        values = per_user(table["user_id"], table["book_id"], table["label"], table["score/fused"])[MAIN]
        assert mean == pytest.approx(values.mean())
    assert gain.difference["low"] < gain.difference["value"] == pytest.approx(gain.new - gain.base)
    back = compare(new, base, seed=1).gains["fused"][MAIN]
    assert back.verdict == "worse" and back.difference["value"] == pytest.approx(-gain.difference["value"])
    assert found.gains["item_knn"][MAIN].verdict == "the same"
    little = compare(scored(12, skill=0.5, seed=1), scored(12, skill=0.5, seed=2), seed=1).gains["fused"][MAIN]
    assert little.verdict in ("not told apart", "the same")


def test_only_lists_that_both_have_are_compared_and_systems_of_one_are_named() -> None:
    base, new = scored(30, skill=1), scored(40, skill=1).drop(columns="score/item_knn")
    new = new[new["user_id"] != "u000"].copy()
    new.loc[(new["user_id"] == "u001") & (new["book_id"] == "b00"), "label"] = 1 - int(
        base.loc[(base["user_id"] == "u001") & (base["book_id"] == "b00"), "label"].iloc[0]
    )
    new = new[(new["user_id"] != "u002") | (new["book_id"] != "b03")]
    found = compare(base, new, seed=1)
    assert found.users == (30, 39, 27) and found.only == (["item_knn"], [])
    assert list(found.values["fused"].index) == [f"u{user:03d}" for user in range(3, 30)]
    none = compare(base, base.assign(user_id="v" + base["user_id"]), seed=1)
    assert none.users == (30, 30, 0) and none.gains == {}


def test_cold_lists_are_compared_apart_and_a_collapsed_model_is_seen() -> None:
    warm, cold = scored(20, skill=1), scored(20, skill=1, cold=True)
    better = pd.concat([warm, scored(20, skill=3, cold=True)])
    kinds = compare_kinds(pd.concat([warm, cold]), better, seed=1)
    assert kinds["warm"].gains["fused"][MAIN].verdict == "the same"
    assert kinds["cold"].gains["fused"][MAIN].verdict == "better"
    assert list(compare_kinds(warm, warm, seed=1)) == ["warm"]
    assert collapsed(warm) == [] and collapsed(warm.assign(**{"score/cross_encoder": 1.0})) == ["cross_encoder"]


@pytest.mark.parametrize(
    ("text", "skills", "words"),
    [
        ("fused.ndcg@10 < -0.01", (1.5, 0.5), "fused.ndcg@10 < -0.01: it is -0."),
        ("fused.ndcg@10 < -0.01", (0.5, 1.5), None),
        ("fused.ndcg@10 < -0.9", (1.5, 0.5), None),
        ("fused.map < 0 strictly", (0.52, 0.5), "fused.map < 0 strictly: it is -0."),
        ("cold.fused.ndcg@10 < -0.01", (1, 1), "can't be judged"),
        ("bm25.ndcg@10 < -0.01", (1, 1), "can't be judged"),
        ("  # nothing", (1.5, 0.5), None),
    ],
)
def test_a_rule_is_broken_by_a_loss_of_which_the_readers_are_sure(
    text: str, skills: tuple[float, float], words: str | None
) -> None:
    tables = [scored(60, skill=skill) for skill in skills]
    lines = broken(read_rules(text, where="gate.rules"), compare_kinds(*tables, seed=1))
    assert len(lines) == (words is not None) and all(words in line for line in lines if words)


def test_a_loss_within_the_noise_breaks_the_strict_rule_alone() -> None:
    base = scored(8, skill=1)
    noise = np.random.default_rng(5).normal(scale=0.5, size=len(base))
    compared = compare_kinds(base, base.assign(**{"score/fused": base["score/fused"] + noise}), seed=1)
    gain = compared["warm"].gains["fused"]["roc_auc"]
    assert gain.difference["value"] < 0 < gain.difference["high"]
    rules = "fused.roc_auc < 0\nfused.roc_auc < 0 strictly\n"
    (line,) = broken(read_rules(rules, where="gate.rules"), compared)
    assert line.startswith("fused.roc_auc < 0 strictly: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fused < -0.01", "'fused < -0.01' is no rule: write SYSTEM.METRIC < NUMBER"),
        ("fused.ndcg@10 > 0.01", "is no rule"),
        ("fusion.ndcg@10 < 0", "'fusion' is no system: give one of"),
        ("fused.ndcg < 0", "'ndcg' is no metric: give one of ndcg@10"),
    ],
)
def test_a_rule_that_says_nothing_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(UserError, match=r"^gate\.rules: line 2: ") as error:
        read_rules(f"# first\n{text}\n", where="gate.rules")
    assert words in str(error.value)


def test_the_committed_rules_are_rules() -> None:
    assert len(read_rules((ROOT / "gate.rules").read_text(), where="gate.rules")) >= 3
    assert rule("fused.ndcg@10 < -.5", where="").limit == -0.5


def test_examples_show_who_gained_and_lost_most_with_the_ranks_before_and_now() -> None:
    base, new = scored(20, skill=1), scored(20, skill=1)
    for table, loser in ((base, "u003"), (new, "u007")):  # one's good list turned around, in base or in new
        own = table["user_id"] == loser
        table.loc[own, "score/fused"] = -5.0 * table.loc[own, "label"] - table.loc[own, "book_id"].str[1:].astype(int)
    pairs = base[["user_id", "book_id", "label", "cold"]].assign(user_ctx="likes", book_text=base["book_id"] + " text")
    values = compare(base, new, seed=1).values["fused"]
    gained, lost = examples(base, new, pairs, values, system="fused", shown=1)
    assert [one.user for one in (*gained, *lost)] == ["u003", "u007"]
    (first,) = gained
    assert first.new > first.base and first.top["rank"].tolist() == list(range(1, 11))
    own = new[new["user_id"] == "u003"].sort_values("score/fused", ascending=False)
    assert first.top["book_text"].tolist() == [f"{book} text" for book in own["book_id"][:10]]
    fallen = set(first.fallen["book_text"])
    assert not fallen & set(first.top["book_text"]) and (first.fallen["before"] <= 10).all() and fallen


def test_changes_of_params_libraries_and_stages_are_named() -> None:
    assert changes({"a": 1, "b": 2}, {"b": 3, "c": None}) == [("b", 2, 3), ("c", "-", None), ("a", 1, "-")]
    assert changes({"a": True, "b": 1, "c": "-"}, {"a": 1, "b": 1.0}) == [("a", True, 1), ("c", "-", "-")]
    assert of_requirements(b"torch==2.13.0 ; x\n# no\nnumpy==2.0\n") == {"torch": "2.13.0", "numpy": "2.0"}
    lock = """
stages:
  train:
    deps: [{path: data, md5: aa}, {path: code.py, md5: bb}]
    params: {params.yaml: {lr: 1}}
    outs: [{path: model, md5: cc}]
  plot:
    outs: [{path: p, md5: dd}]
"""
    new = lock.replace("lr: 1", "lr: 2").replace("bb", "b2").replace("cc", "c2")
    (stage,) = stage_changes(stages_of(lock.encode()), stages_of(new.encode()), declared={})
    assert (stage.name, stage.reasons, stage.outputs) == ("train", ["lr", "code.py"], (1, 1))
    assert [one.reasons for one in stage_changes({}, stages_of(lock.encode()), declared={})] == [
        ["the stage is new"]
    ] * 2


def test_no_text_breaks_out_of_its_place_or_names_a_person() -> None:
    text = escaped(HOSTILE)
    assert "\x1b" not in text and "\u202e" not in text and "\n" not in text and "@you" not in text and "#12" not in text
    assert r"\<img" in text and r"\|" in text and r"\`code\`" in text and r"\*x\*" in text and r"\\u202e" in text
    html = escaped_html(HOSTILE)
    assert "<img" not in html and "&lt;img" in html and '"' not in html and "\u202e" not in html


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


def test_the_page_says_what_changed_and_the_exit_code_whether_a_rule_is_broken(project: Path) -> None:
    more = "--counts counts.json --seeds seeds.json"
    printed = command(
        project, f"{RUN} --base HEAD~1 {more} --fail-if 'fused.ndcg@10 < -0.01' 'fused.map < -1'", fails=True
    )
    assert (
        printed.startswith("The fusion is worse: nDCG@10 -0.") and "broken: fused.ndcg@10 < -0.01: it is -0." in printed
    )
    assert "fused.map" not in printed and "Traceback" not in printed
    page = (project / "report/report.md").read_text()
    first = page.splitlines()[2]
    assert first.startswith("**The fusion is worse**") and "same lists of 50 readers" in first
    assert "The seed of training alone moves it by 0.020 (3 seeds, mean 0." in first
    assert "- the warm lists differ: 60 readers before, 50 now, 50 with the same list, which alone are compared" in page
    assert "| users   | 60       | 50    |" in page and "| lr      | 0.0001   | 0.0002 |" in page
    assert "line [0.1000, 0.2000, 0.7500]" in page and "line [0.1000, 0.2000, 0.3500]" in page
    assert (
        "before orange line, now blue bar" in page
        and "bar [0.3500, 0.3000]" in page
        and "line [0.7500, 0.3000]" in page
        and "Unchanged" not in page
    )
    assert page.index("## The data changed") < page.index("## Systems") < page.index("## Who lost most")
    assert not re.search(r"(?<!\\)<img", page) and "\u202e" not in page and "\x1b" not in page
    good = command(project, f"{RUN} --base HEAD --new HEAD~1 --fail-if 'fused.ndcg@10 < -0.01'")
    assert good.startswith("The fusion is better")
    assert (project / "report/report.md").read_text().startswith("# HEAD\\~1 against HEAD\n")


def test_what_is_in_neither_git_nor_the_cache_is_named_and_metrics_stand_in(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    command(tmp_path, f"git clone --quiet {project} {clone}")
    printed = command(clone, f"{RUN} --base HEAD~1 --metrics counts.json")
    assert printed.startswith("Nothing can be judged")
    assert "note: HEAD~1 lacks data/scores/test.parquet" in printed and "dvc fetch" in printed
    page = (clone / "report/report.md").read_text()
    assert "## Metrics" in page and "| users    | 60       | 50    |" in page
    (clone / "gate.rules").write_text("fused.ndcg@10 < 0\n")
    assert "can't be judged" in command(clone, f"{RUN} --base HEAD~1 --rules gate.rules", fails=True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--base nowhere", "error: 'nowhere': is no commit, branch, tag or experiment"),
        ("--base -x", ""),
        ("--base twice", "error: 'twice': 2 experiments have this name: give the commit of one"),
        ("--base HEAD --rules none.rules", "error: none.rules: can't be read"),
        ("--base HEAD --fail-if 'fused < 1'", "error: --fail-if: 'fused < 1' is no rule"),
    ],
)
def test_a_mistake_is_one_line(project: Path, more: str, words: str) -> None:
    for number in ("aa", "bb"):
        command(project, f"git update-ref refs/exps/{number}/{number}/twice HEAD")
    printed = command(project, f"{RUN} {more}", fails=True)
    assert "Traceback" not in printed and words in printed


@pytest.mark.parametrize("name", ["params.yaml", "dvc.lock", "counts.json", "data/scores/test.parquet"])
def test_a_file_that_cannot_be_read_is_named_with_its_revision(project: Path, tmp_path: Path, name: str) -> None:
    clone = tmp_path / "clone"
    command(tmp_path, f"cp -r {project} {clone}")
    (clone / name).unlink()
    (clone / name).write_text("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> theirs\n")
    printed = command(clone, f"{RUN} --base HEAD --counts counts.json", fails=True)
    assert "Traceback" not in printed and f"error: {name} of the working tree: can't be read" in printed
    assert len(printed.strip().splitlines()[-1]) <= 300


def test_what_lies_beside_the_page_stays_and_every_rule_given_is_judged(project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    command(tmp_path, f"cp -r {project} {clone}")
    (clone / "report").mkdir(exist_ok=True)
    (clone / "report/mine.txt").write_text("mine")
    more = "--fail-if 'fused.ndcg@10 < -0.01' --fail-if 'fused.map < -1'"
    assert "broken: fused.ndcg@10" in command(clone, f"{RUN} --base HEAD~1 {more}", fails=True)
    assert (clone / "report/mine.txt").read_text() == "mine"


def test_results_of_other_params_are_said_and_judge_no_rule(project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    command(tmp_path, f"cp -r {project} {clone}")
    command(clone, "git checkout --quiet HEAD~1")
    assert "note: the working tree's results are not of its" in command(clone, f"{RUN} --base HEAD")
    assert "broken: the working tree's" in command(clone, f"{RUN} --base HEAD --fail-if 'fused.map < -1'", fails=True)


def test_three_readers_are_never_sure_of_a_loss() -> None:
    base = scored(3, skill=1.5)
    compared = compare_kinds(base, scored(3, skill=0.2), seed=1)
    assert compared["warm"].gains["fused"][MAIN].p_value >= 0.05
    assert broken(read_rules("fused.ndcg@10 < -0.01", where="gate.rules"), compared) == []


def test_a_text_cannot_name_a_person_through_an_entity() -> None:
    for address in ("https://example.org", "www.example.org", "GH-12", "mailto:a"):
        start = re.split(r"[:.-]", address)[0]
        assert (
            not re.search(rf"{start}[:.-]?[/.\w-]", escaped(address))
            and escaped(address).replace("\u2060", "") == address
        )
    assert r"\&commat;" in escaped("&commat;octocat") and r"\$x\$" in escaped("$x$")


def test_ids_and_labels_of_other_types_are_the_same_list() -> None:
    table = scored(9, skill=1).assign(book_id=lambda table: table["book_id"].str[1:].astype(int))
    other = table.assign(book_id=table["book_id"].astype(str), label=table["label"].astype(float))
    found = [score_table(of.to_parquet()) for of in (table, other)]
    assert compare(*found, seed=1).users == (9, 9, 9)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_rank_nothing_are_refused(value: float) -> None:
    table = scored(3, skill=1)
    table.loc[2, "score/fused"] = value
    with pytest.raises(ValueError, match="no finite numbers"):
        score_table(table.to_parquet())
    with pytest.raises(ValueError, match="a user and book twice"):
        score_table(pd.concat([scored(3, skill=1)] * 2).to_parquet())


def test_readers_without_a_positive_are_not_counted_and_few_shared_lists_judge_nothing() -> None:
    base = scored(20, skill=1)
    mute = base["user_id"] < "u015"
    assert compare_kinds(*[base.assign(label=base["label"].where(~mute, 0))] * 2, seed=1)["warm"].users == (5, 5, 5)
    new = base[(base["user_id"] < "u003") | (base["book_id"] != "b04")]
    (line,) = broken(read_rules("fused.ndcg@10 < -1", where="gate.rules"), compare_kinds(base, new, seed=1))
    assert line.endswith("can't be judged: only 3 of 20 lists are those of before")


def test_tied_scores_stand_in_the_examples_where_the_metric_has_them() -> None:
    base, new = scored(6, skill=1), scored(6, skill=1).assign(**{"score/fused": 1.0})
    values = compare(base, new, seed=1).values["fused"]
    pairs = base[["user_id", "book_id", "label", "cold"]].assign(user_ctx="likes", book_text="text")
    for example in [one for some in examples(base, new, pairs, values, system="fused") for one in some]:
        gains = example.top["label"] / np.log2(example.top["rank"] + 1)
        assert gains.sum() / (1 / np.log2(np.arange(2, 6))).sum() == pytest.approx(example.new)


def test_a_changed_command_is_said_a_curve_of_another_metric_is_not_drawn_and_the_page_fits(
    project: Path, tmp_path: Path
) -> None:
    (stage,) = stage_changes({"a": {"cmd": "x"}}, {"a": {"cmd": "y"}}, declared={})
    assert stage.reasons == ["the command"]
    clone = tmp_path / "clone"
    command(tmp_path, f"cp -r {project} {clone}")
    steps = range(4_000)
    pd.DataFrame({"step": steps, "metric": "other", "value": 0.5}).to_csv(clone / "curve.csv", index=False)
    (clone / "gate.rules").write_text("fused.ndcg@10 < -0.5\n")
    many = "".join(f"key{n}: {'x' * 400}\n" for n in range(900))
    (clone / "params.yaml").write_text(f"{(clone / 'params.yaml').read_text()}{many}")
    command(clone, "dvc commit --quiet --force draw")
    printed = command(clone, f"{RUN} --base HEAD --rules gate.rules")
    page = (clone / "report/report.md").read_text()
    assert "gate.rules itself is new" in printed and "mermaid" not in page and len(page) < 65_536
    assert "error: --report params.yaml: is a file" in command(
        clone, f"{RUN.replace('report report', 'report params.yaml')} --base HEAD", fails=True
    )


def test_several_revisions_share_one_table_with_the_base_best_validation_first(project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    command(tmp_path, f"cp -r {project} {clone}")
    command(clone, "git tag worse && git tag better HEAD~1 && git tag again HEAD~1")
    printed = command(clone, f"{RUN} --base worse --new worse better again better --training training.json")
    assert printed.count("The fusion is") == 3 and "better: The fusion is better" in printed
    page = (clone / "report/report.md").read_text()
    assert page.startswith("# 3 revisions against worse\n\n**better is best on validation**")
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    rows = [row for row in table if len(row) == 9][1:]
    assert [row[0] for row in rows] == ["worse", "better", "again", "worse"]
    assert [row[2] for row in rows] == ["0.350", "0.750", "0.750", "0.350"] and rows[0][4] == rows[3][4]
    assert [row[-1] for row in rows] == ["the base", "better", "better", "the same"]
    assert "Each p is multiplied by 3" in page and page.count("```mermaid") == 2
    fails = command(clone, f"{RUN} --base better --new worse again --fail-if 'fused.ndcg@10 < -0.01'", fails=True)
    assert "broken: worse: fused.ndcg@10" in fails and "broken: again" not in fails


def test_a_p_value_of_several_comparisons_is_larger_and_can_turn_a_finding_into_none() -> None:
    gain = compare(scored(60, skill=0.5), scored(60, skill=1.5), seed=1).gains["fused"][MAIN]
    assert gain.of_several(2).p_value == 2 * gain.p_value and gain.of_several(2).verdict == "better"
    assert gain.of_several(10**6).p_value == 1 and gain.of_several(10**6).verdict == "not told apart"


def test_pictures_are_linked_at_the_commits_that_made_them(project: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    command(tmp_path, f"cp -r {project} {clone}")
    command(clone, "git commit --quiet --allow-empty --message Later")
    made = command(clone, "git log --format=%H -2 -- picture.png").split()
    command(clone, f"{RUN} --base HEAD~2 --repository https://example.org/a/b/")
    page = (clone / "report/report.md").read_text()
    for commit, when in zip(made, ("now", "before"), strict=True):
        assert f"![{when}](<https://example.org/a/b/blob/{commit}/picture.png?raw=true>)" in page
    Figure().savefig(clone / "picture.png")
    command(clone, f"{RUN} --base HEAD~2 --repository https://example.org/a/b")
    assert "example.org" not in (clone / "report/report.md").read_text()
