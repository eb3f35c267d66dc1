"""Differences between cells: over training seeds too, corrected for their number, and the best of several."""

import numpy as np
import pytest

from lab.report.contrasts import holm
from lab.report.effects import Scored, best_of, effects, joined, scored_cells
from lab.report.outcome import Cell, Outcome, numbers, outcome_markdown
from lab.report.questions import Question


def asked(scored, **questions):
    return effects([Question(name, weights, primary=False) for name, weights in questions.items()], scored, 4000, 0)


def made(*rows, categories=("color", "shape")):
    """A cell with these scores in every category, a row for each training seed."""
    return Scored({name: np.array(rows, float) for name in categories}, ("aa",))


def test_p_values_are_corrected_over_all_that_is_asked(results):
    scored = scored_cells(results)
    alone = [asked(scored, it={arm: 1, "baseline": -1})[0] for arm in ("taca-free", "taca-r16")]
    both = asked(scored, free={"taca-free": 1, "baseline": -1}, trained={"taca-r16": 1, "baseline": -1})
    assert [answer.p_value for answer in both] == holm([answer.p_value for answer in alone])
    assert [answer.interval for answer in both] == [answer.interval for answer in alone]


def test_training_seeds_are_resampled_with_the_prompts():
    """Seeds that differ where prompts do not give the error of a mean over seeds; what has one stands against each."""
    cells = {"three": joined([made([0.0] * 50), made([0.3] * 50), made([0.6] * 50)]), "one": made([0.1] * 50)}
    [answer] = asked(cells, it={"three": 1, "one": -1})
    assert answer.interval.mean == pytest.approx(0.2)
    assert answer.error == pytest.approx(np.std([0.0, 0.3, 0.6]) / 3**0.5, rel=0.05)
    [alone] = asked({"two": made([0.3] * 50), "one": made([0.1] * 50)}, it={"two": 1, "one": -1})
    assert alone.error == pytest.approx(0)


def test_the_best_is_chosen_on_the_half_that_does_not_score_it():
    """One is best on even places and the other on odd ones: each is scored where it is worse."""
    even, odd = made([1.0, 0.0] * 10), made([0.0, 1.0] * 10)
    found, chosen = best_of({"even": even, "odd": odd})
    assert chosen == ("odd", "even")
    assert found.values["color"].mean() == 0
    found, chosen = best_of({"even": even, "better": made([0.9] * 20)})
    assert chosen == ("better", "even")
    assert found.values["color"].mean() == pytest.approx(0.45)


def test_the_page_counts_its_intervals_and_says_what_is_left(results):
    cells = {arm.name: Cell("0123456789ab", {"gamma": 1.2}, 0.5, None, {"Steps": "13"}) for arm in results.arms}
    answers = asked(scored_cells(results), same={"taca-free": 1, "baseline": -1}, gain={"taca-r16": 1, "baseline": -1})
    outcome = Outcome("Title", results, cells, answers, ["Commit `abc`."], {"best": ("a", "b")}, ["A note."])
    page = outcome_markdown(outcome)
    assert "over all 2 intervals" in page
    assert "p stays below .05 for gain." in page
    assert "a by one half of the prompts, b by the other" in page
    assert "| Mean | Steps | Fréchet distance | Scores | Experiment |" in page
    assert [one["p_corrected"] for one in numbers(outcome)["differences"]] == [one.p_value for one in answers]
