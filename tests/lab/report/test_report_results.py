"""What is compared with what, and what the intervals are said to say."""

import csv
import hashlib
import io
from dataclasses import replace

import pytest

from compbench.table import Scores
from lab.errors import LabError
from lab.report.findings import chance, findings
from lab.report.paper import paper_table
from lab.report.results import compare
from lab.report.tables import results_csv, results_markdown


def test_differences_are_to_the_baseline_on_the_same_prompts(results):
    for category in results.categories:
        gained = results.of(results.arms[2], category).difference
        assert gained.mean == pytest.approx(0.1, abs=0.03)
        assert gained.excludes_zero
        assert results.of(results.baseline, category).difference is None


def test_baseline_may_stand_anywhere_among_the_arms(results):
    turned = compare(results.arms[::-1], "baseline", 500, 0)
    assert [arm.name for arm in turned.compared] == ["taca-r16", "taca-free"]
    assert turned.table == results.table


def test_arms_share_their_settings_hash_with_dvc(results, experiment):
    """DVC's md5 of a file is that of its bytes."""
    content = (experiment / "results" / "scores" / "baseline.parquet").read_bytes()
    assert results.baseline.md5 == hashlib.md5(content).hexdigest()
    assert results.baseline.md5.startswith(results.baseline.hash)


def test_findings_say_plainly_what_lies_within_its_interval(results):
    within, beyond = findings(results)
    assert (within.arm.name, beyond.arm.name) == ("taca-free", "taca-r16")
    assert "No difference to baseline is shown" in within.not_shown or "Within its interval" in within.not_shown
    assert beyond.shown.startswith("Differs from baseline: higher in Color (+0.")
    assert beyond.not_shown == ""
    assert chance(results) == (
        "Of 12 intervals at 95 %, about 0.6 would exclude 0 by chance alone if no arm differed from baseline."
    )


def test_equal_arms_are_said_to_show_no_difference(results):
    twin = replace(results.baseline, name="twin")
    [finding] = findings(compare([results.baseline, twin], "baseline", 500, 0))
    assert finding.shown == ""
    assert finding.not_shown == "No difference to baseline is shown: in every category it lies within its interval."


def test_csv_holds_every_number_with_the_hash_behind_it(results):
    lines = list(csv.DictReader(io.StringIO(results_csv(results))))
    assert len(lines) == 3 * (6 + 3), "six categories and the parts of complex, for three arms"
    assert {line["scores_md5"] for line in lines} == {arm.md5 for arm in results.arms}
    assert {line["baseline_md5"] for line in lines} == {results.baseline.md5}
    color = next(line for line in lines if (line["arm"], line["category"]) == ("taca-r16", "color"))
    found = results.of(results.arms[2], "color")
    assert float(color["mean"]) == pytest.approx(found.mean.mean, abs=1e-6)
    assert float(color["difference_high"]) == pytest.approx(found.difference.high, abs=1e-6)
    assert next(line for line in lines if line["arm"] == "baseline")["difference"] == ""


def test_markdown_has_the_layout_of_the_papers_table(results):
    text = results_markdown(results, paper_table("table1"))
    assert "| Arm | Color | Shape | Texture | Spatial | Non-Spatial | Complex | Scores |" in text
    assert "| FLUX.1-Dev + TACA (r = 64) | 0.7843 | 0.5362 | 0.6872 | 0.2405 | 0.3041 | 0.4494 |" in text
    assert f"`{results.arms[1].hash}` − `{results.baseline.hash}`" in text


def test_paper_table_names_its_source():
    table = paper_table("table1")
    assert "arXiv 2506.07986 v3" in table.source
    assert table.source.endswith("Table 1: T2I-CompBench")
    assert len(table.rows) == 6


def test_a_baseline_that_is_no_arm_is_refused(results):
    with pytest.raises(LabError, match=r"`report\.baseline` is 'base', but must be one of the arms: baseline, taca"):
        compare(results.arms, "base", 500, 0)


def test_arms_scored_by_different_metrics_are_refused(results):
    kept = [row for row in results.arms[1].scores.rows() if row.category != "color"]
    without = replace(results.arms[1], scores=Scores.of(kept))
    with pytest.raises(LabError, match="taca-free and baseline were scored by different metrics"):
        compare([results.baseline, without], "baseline", 500, 0)
