"""Questions that were fixed before the answers: what they weigh, and how their intervals and corrections come out."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from compbench.table import Scores
from lab.errors import LabError
from lab.params.profile import profile_params
from lab.prompts import prompts_of
from lab.report.contrasts import ask, holm
from lab.report.questions import CONTRASTS, Question, read_questions
from lab.report.results import compare
from lab.report.tables import contrasts_markdown

ROOT = Path(__file__).parents[3]


def one(results, weights, primary=False):
    [answer] = ask([Question("it", weights, primary)], results, 2000, 0).answers
    return answer


def test_the_mean_is_over_categories_of_paired_differences(results):
    answer = one(results, {"taca-free": 1, "baseline": -1})
    by_category = [results.of(results.arms[1], category).difference.mean for category in results.categories]
    assert answer.interval.mean == pytest.approx(np.mean(by_category))
    assert answer.interval.low < answer.interval.mean < answer.interval.high


def test_the_primary_question_of_the_power_profile_is_asked_over_six_categories(results, monkeypatch):
    """Each counts a sixth: all that its prompts are of, whatever number of prompts one has."""
    monkeypatch.chdir(ROOT)
    params = profile_params("power")
    drawn = {row["category"] for row in prompts_of(params.prompts.model_copy(update={"per_category": 2}))}
    assert drawn == set(results.categories)
    assert len(drawn) == 6
    primary = read_questions()[0]
    assert primary.primary
    assert primary.weights.keys() <= params.arms.keys()
    moved = {name: 0.6 if name == "color" else 0.0 for name in results.categories}
    arms = [results.baseline, replace(results.baseline, name="moved", scores=shifted(results.baseline, moved))]
    answer = one(compare(arms, "baseline", 50, 0), {"moved": 1, "baseline": -1})
    assert answer.interval.mean == pytest.approx(0.1)


def shifted(arm, by_category) -> Scores:
    rows = [replace(row, score=row.score + by_category[row.category]) for row in arm.scores.rows()]
    return Scores.of(rows)


def test_the_interval_is_that_of_prompts_within_their_categories(results):
    """By the formula for a mean of independent means; the bootstrap's variance divides by n, not n - 1."""
    answer = one(results, {"taca-free": 1, "baseline": -1})
    scores = [arm.scores.by_prompt() for arm in (results.arms[1], results.arms[0])]
    variances = []
    for category in results.categories:
        metric = results.of(results.baseline, category).metric
        taca, base = (np.array(list(found[category, metric].values())) for found in scores)
        variances.append(np.var(taca - base) / len(base))
    error = np.sqrt(sum(variances)) / len(variances)
    assert answer.error == pytest.approx(error, rel=0.06)
    assert answer.interval.high - answer.interval.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert answer.detectable == pytest.approx((1.96 + 0.8416) * answer.error, rel=1e-3)
    assert answer.p_value == pytest.approx(2 * norm.sf(abs(answer.interval.mean) / answer.error))


def test_an_interaction_takes_four_weights(results):
    arms = {arm.name: one(results, {arm.name: 1, "baseline": -1}).interval.mean for arm in results.compared}
    both = one(results, {"taca-r16": 1, "taca-free": -2, "baseline": 1})
    assert both.interval.mean == pytest.approx(arms["taca-r16"] - 2 * arms["taca-free"])
    assert both.question.arms == "taca-r16 − 2 taca-free + baseline"


def test_holm_is_the_textbooks():
    """Holm's own procedure on four p-values: times 4, 3, 2, 1 in their order, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_primary_question_is_not_corrected_and_the_others_are(results):
    weights = {"taca-free": 1, "baseline": -1}
    alone = one(results, weights)
    primary, first, second = ask([Question(n, weights, n == "a") for n in "abc"], results, 2000, 0).answers
    assert primary.p_value == alone.p_value
    assert first.p_value == second.p_value == pytest.approx(min(1, 2 * alone.p_value))


def test_only_an_interval_above_zero_is_a_gain(results):
    loss = ask([Question("it", {"baseline": 1, "taca-r16": -1}, True)], results, 500, 0)
    gain = ask([Question("it", {"taca-r16": 1, "baseline": -1}, True)], results, 500, 0)
    assert loss.headline.startswith("No gain of it (baseline − taca-r16) is shown: −0.")
    assert gain.headline.startswith("it (taca-r16 − baseline) raises the mean score: +0.")


def test_equal_arms_differ_by_nothing(results):
    answer = one(results, {"baseline": 1e-12, "taca-free": -1e-12})
    assert not answer.shown


def test_what_cannot_be_asked_is_named(results, report):
    assert "Not asked, since an arm was not drawn: more training." in (report / "contrasts.md").read_text()
    page = (report / "index.html").read_text()
    assert "training (taca-r16 − baseline) raises the mean score" in page
    assert "Not asked, since an arm was not drawn: more training." in page


def test_every_question_is_in_the_table_whatever_its_sign(results):
    questions = [
        Question("up", {"taca-r16": 1, "baseline": -1}, True),
        Question("down", {"baseline": 1, "taca-r16": -1}, False),
    ]
    table = contrasts_markdown(ask(questions, results, 500, 0))
    assert re.search(r"^\| \*\*up\*\* \(primary\) \| taca-r16 − baseline \| \+0\.", table, re.M)
    assert re.search(r"^\| down \| baseline − taca-r16 \| −0\.", table, re.M)


def test_the_committed_questions_are_read_and_the_primary_one_is_first():
    questions = read_questions(ROOT / CONTRASTS)
    assert [question.primary for question in questions] == [True] + [False] * (len(questions) - 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must have `primary`, a name, and `contrasts`"),
        ("primary: [", "must have `primary`"),
        ("primary: a\ncontrasts: [a]", "must have `primary`"),
        ("primary: a\ncontrasts: {a: {x: one, y: -1}}", "must have `primary`"),
        ("primary: b\ncontrasts: {a: {x: 1, y: -1}}", "is 'b', but must be one of its contrasts: a."),
        ("primary: a\ncontrasts: {a: {x: 1, y: -2}}", "must sum to zero"),
        ("primary: a\ncontrasts: {a: {x: 1, y: -1, z: 0}}", "must sum to zero, none of them 0"),
        ("primary: a\ncontrasts: {a: {}}", "must sum to zero"),
    ],
)
def test_a_file_that_asks_nothing_is_refused(tmp_path, text, said):
    path = tmp_path / "contrasts.yaml"
    path.write_text(text)
    with pytest.raises(LabError, match=re.escape(said)):
        read_questions(path)
