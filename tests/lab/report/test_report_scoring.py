"""What the report says of who scored, and what it shows only where it was scored."""

import csv
import io
import json
from dataclasses import replace

import pytest

from compbench.manifest import build_manifest
from compbench.scorers.choice import Choice
from compbench.scorers.interface import Prompt
from lab.errors import LabError
from lab.report.findings import chance, findings
from lab.report.paper import paper_table
from lab.report.results import ALL, compare
from lab.report.tables import quality_markdown, results_csv, results_markdown

NEVER = {
    "spatial": {
        'no label of the detector is "cow"': ["a", "b"],
        'no label of the detector is "wallet"': ["c", "d", "e"],
    },
    "complex": {"its parse has no two objects": ["f"]},
}
CORRECTIONS = [
    {"name": "spatial: on top of", "what": "it is scored", "share": 0.25},
    {"name": "complex: no phrases", "what": "it is an error", "share": 0.0},
]


def with_manifest(results, **changes):
    """The arms, all scored otherwise."""
    arms = [replace(arm, manifest=arm.manifest | changes) for arm in results.arms]
    return compare(arms, "baseline", 200, 0)


def test_every_table_says_who_scored_in_which_mode_and_with_which_parser(results, write):
    """Also that the parser is not the official one."""
    manifest = build_manifest(
        Choice(attribute="detector", spatial="detector", clip="base"),
        [Prompt(0, "a thing", "color", parser="rules"), Prompt(1, "a star", "color", parser="world")],
        ("color", "non_spatial"),
        {"label": "not the official protocol"},
    )
    other = with_manifest(results, **manifest)
    sentence = (
        "Scored by the built-in detector (attributes) and the base&#39;s CLIP model (similarity of image and text), in "
        "official mode; parser: rules: not the official parser, world."
    )
    page = (write(results=other) / "index.html").read_text()
    own = page[: page.index('<section class="paper">')]
    assert own.count(sentence) == own.count("<table>") == 4
    assert "<tr><td>scoring protocol</td><td>not the official protocol</td></tr>" in page
    assert sentence.replace("&#39;", "'") in results_markdown(other, None)
    for line in csv.DictReader(io.StringIO(results_csv(other))):
        assert (line["mode"], line["parser"]) == ("official", "rules: not the official parser, world")


def test_csv_names_the_scorer_of_each_number(results):
    found = {line["metric"]: line["scorer"] for line in csv.DictReader(io.StringIO(results_csv(results)))}
    assert found == {"attribute": "detector", "spatial": "detector", "clip": "base", "complex": "3-in-1"}


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"mode": "corrected"}, '`mode` is "corrected" for taca-r16, but "official" for baseline'),
        ({"weights": {"a.pth": "12"}}, '`weights.a.pth` is "12" for taca-r16, but absent for baseline'),
        ({"device": None}, '`device` is absent for taca-r16, but "cpu" for baseline'),
    ],
)
def test_arms_that_were_not_scored_alike_are_not_compared(results, changes, difference):
    *others, last = results.arms
    last = replace(last, manifest=last.manifest | changes)
    with pytest.raises(LabError) as caught:
        compare([*others, last], "baseline", 200, 0)
    assert str(caught.value) == (
        f"The arms taca-r16 and baseline were not scored alike: {difference}; score both again (`dvc repro -f score`)."
    )


def test_arms_may_have_other_numbers_of_images(results):
    """Of the same prompts: images of a prompt are averaged first."""
    protocol = {"label": "it", "categories": {"3d_spatial": {"images": 12, "per_prompt": [1, 1], "prompts": 12}}}
    more = {"label": "it", "categories": {"3d_spatial": {"images": 36, "per_prompt": [3, 3], "prompts": 12}}}
    first, *others = (replace(arm, manifest=arm.manifest | {"protocol": protocol}) for arm in results.arms)
    compare([replace(first, manifest=first.manifest | {"protocol": more}), *others], "baseline", 200, 0)
    more["categories"]["3d_spatial"]["prompts"] = 13
    with pytest.raises(LabError, match="prompts` is 12 for taca-free, but 13 for baseline"):
        compare([replace(first, manifest=first.manifest | {"protocol": more}), *others], "baseline", 200, 0)


def test_image_quality_has_the_layout_of_the_papers_table_2(benchmark, write):
    """Over all prompts of all categories, with paired differences; the paper's own beside it."""
    folder = write(results=benchmark)
    text = (folder / "table2.md").read_text()
    assert text == quality_markdown(benchmark, paper_table("table2"))
    assert "| Metric | baseline | taca-free | taca-r16 |" in text
    assert "| MANIQA | 0.4883 | 0.4921 | 0.5149 | 0.5292 |" in text
    found = benchmark.of(benchmark.arms[2], ALL, "musiq")
    scores = [row.score for row in benchmark.arms[2].scores.firsts() if row.metric == "musiq"]
    assert found.mean.n == 8 * 12 == len(scores)
    assert found.mean.mean == pytest.approx(sum(scores) / len(scores))
    assert found.difference.mean == pytest.approx(0.1, abs=0.02)
    page = (folder / "index.html").read_text()
    assert "<h2>Image quality</h2>" in page
    assert f"{found.mean.mean:.4f}" in page[page.index("<h2>Image quality</h2>") :]
    assert page.index("Table 2: image quality") > page.index('<section class="paper">')


def test_report_without_image_quality_shows_nothing_of_it(results, report):
    page = (report / "index.html").read_text()
    assert "MUSIQ" not in page
    assert "Table 2" not in page
    assert not (report / "table2.md").exists()


def test_image_quality_counts_among_the_findings(benchmark):
    assert chance(benchmark).startswith("Of 20 intervals at 95 %, about 1.0 ")
    assert "higher in MUSIQ (+0.1" in findings(benchmark)[1].shown


def test_categories_that_the_paper_lacks_have_columns_here_and_none_there(benchmark, write):
    page = (write(results=benchmark) / "index.html").read_text()
    at = page.index('<section class="paper">')
    assert '<th colspan="3">Object Relationship</th>' in page[:at]
    assert "<th>Spatial</th><th>3D-Spatial</th><th>Non-Spatial</th><th>Numeracy</th><th>Complex</th>" in page[:at]
    assert "which has no 3D-Spatial and no Numeracy" in " ".join(page[:at].split())
    assert "Numeracy" not in page[at : page.index("</section>")]
    assert "3D-Spatial | Non-Spatial | Numeracy | Complex | Scores |" in results_markdown(benchmark, None)


def test_official_mode_lists_how_many_prompts_can_never_score(results, write):
    never = with_manifest(results, never_score=NEVER)
    page = (write(results=never) / "index.html").read_text()
    assert "<h2>Prompts that can never score</h2>" in page
    assert "<td>Spatial</td><td>5 of 12</td>" in page
    assert "is &#34;wallet&#34; (3); no label of the detector is &#34;cow&#34; (2)" in page, "the most first"
    text = results_markdown(never, None)
    assert "- Spatial: 5 of 12\n- Complex: 1 of 12\n" in text


def test_corrected_mode_lists_the_corrections_that_reach_a_prompt(results, write):
    corrected = with_manifest(results, mode="corrected", corrections=CORRECTIONS)
    page = (write(results=corrected) / "index.html").read_text()
    assert "<tr><td>spatial: on top of</td><td>25.0 %</td><td>it is scored</td></tr>" in page
    assert "no phrases" not in page
    assert "- spatial: on top of: 25.0 % of the prompts; it is scored" in results_markdown(corrected, None)


def test_report_on_modes_without_effect_has_no_section_on_them(report):
    page = (report / "index.html").read_text()
    assert "can never score" not in page
    assert "What corrected mode changes" not in page


def test_manifest_beside_the_scores_is_the_one_that_is_read(results, experiment):
    text = (experiment / "results" / "scores" / "taca-free.manifest.json").read_text()
    assert results.arms[1].manifest == json.loads(text)
