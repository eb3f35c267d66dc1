"""The written report: complete, self-contained, the same bytes for the same results."""

import re
from dataclasses import replace
from html.parser import HTMLParser

from PIL import Image

from compbench.table import Scores
from lab.report.grid import grid_prompts
from lab.report.results import compare

TABLES = {"table1.csv", "table1.md", "contrasts.md"}
FILES = {"index.html", "grid.png", "means.svg", "differences.svg", "loss.svg", *TABLES}


class Tags(HTMLParser):
    """Collects tags, and checks that they nest."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.cells = [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.addresses += [value for key, value in attributes.items() if key in ("src", "href")]
        if tag == "td":
            self.cells.append(attributes.get("title"))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_report_is_the_same_bytes_twice(report, write):
    first, second = report, write()
    assert {path.name for path in first.iterdir()} == FILES
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_page_needs_no_other_file_and_names_no_date_or_folder(report, experiment):
    page = (report / "index.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(tags.addresses) == 5
    assert all(address.startswith("data:image/") for address in tags.addresses)
    assert "<script" not in page
    assert str(experiment) not in page


def test_every_number_carries_the_hash_of_its_score_file(report, results):
    """Each measured cell says how to find its run, and each row shows the hash."""
    page = (report / "index.html").read_text()
    cells = re.findall(r'<td[^>]*title="make run HASH=(\w{8})[^"]*">[+−]?\d\.\d{4}<small>', page)
    assert len(cells) == 3 * 6 + 2 * 6 + 3 * 4 + 2  # means, differences, parts of complex, questions
    assert len(re.findall(r"<td[^>]*>[+−]?\d\.\d{4}<small>", page)) == len(cells)
    for arm in results.arms:
        assert f"<code>make run HASH={arm.hash}</code>" in page
        assert arm.md5 in page


def test_page_labels_the_papers_numbers_as_the_papers(report):
    page = (report / "index.html").read_text()
    section = page[page.index('<section class="paper">') : page.index("</section>")]
    assert "the paper's numbers, not this run's" in section.lower()
    assert "arXiv 2506.07986" in section
    assert "0.7843" in section
    assert "0.7843" not in page.replace(section, "")


def test_page_states_the_protocol(report):
    page = (report / "index.html").read_text()
    assert "Color 12, Shape 12" in page
    assert "<tr><td>steps</td><td>30</td></tr>" in page
    assert "&lt;builtin&gt;" in page
    assert "<th>gamma</th><th>threshold</th><th>guidance</th>" in page


def test_report_without_trained_adapters_says_so(write):
    folder = write(histories=())
    assert "No arm uses a trained adapter." in (folder / "index.html").read_text()
    assert not (folder / "loss.svg").exists()


def test_report_on_the_baseline_alone_has_scores_and_no_differences(write, results):
    folder = write(results=compare([results.baseline], "baseline", 500, 0))
    page = (folder / "index.html").read_text()
    assert "Differences to" not in page
    assert "<h2>Scores</h2>" in page


def test_report_on_some_categories_has_those_columns(write, results):
    scores = {
        arm.name: Scores.of(row for row in arm.scores.rows() if row.category in ("color", "spatial"))
        for arm in results.arms
    }
    some = compare([replace(arm, scores=scores[arm.name]) for arm in results.arms], "baseline", 500, 0)
    page = (write(results=some) / "index.html").read_text()
    own = page[: page.index('<section class="paper">')]
    assert "<th>Arm</th><th>Color</th><th>Spatial</th>" in own
    assert "What the complex score is made of" not in own


def test_grid_shows_prompts_of_all_categories_by_rule(results):
    shown = grid_prompts(results, 8)
    singles = ["texture", "spatial", "non_spatial", "complex"]
    assert [row.category for row in shown] == ["color", "color", "shape", "shape", *singles]
    assert [row.index for row in shown] == [0, 1, 0, 1, 0, 0, 0, 0]
    assert len(grid_prompts(results, 1000)) == 6 * 12


def test_grid_has_a_column_for_each_arm(write):
    """Each cell shows its arm's own image."""
    with Image.open(write(grid=2) / "grid.png") as grid:
        assert [grid.getpixel((190 + 168 * arm + 80, 26 + 80))[0] for arm in range(3)] == [0, 60, 120]
