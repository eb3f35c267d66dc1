"""A sweep's page: its finished cells as arms, and what is known before the compared one has finished."""

import json

from lab.report.sweep import write_sweep

FILES = {"index.html", "cells.json", "cells.csv", "table.md", "means.svg", "differences.svg"}


SETTINGS = {"gamma": 1.2, "threshold": 970.0, "guidance": 1.0, "adapter": "none", "rank": 0}


def written(folder, results, notes=()):
    cells = {arm.name: {"label": arm.name, "experiment": arm.md5} for arm in (results.arms if results else ())}
    about = {"name": "gamma", "title": "Gamma & threshold", "compare_with": "baseline", "paper": "table4"}
    settings = {arm.name: {"method": "taca", **SETTINGS} for arm in (results.arms if results else ())}
    write_sweep(folder, results, cells, notes, settings, marked=lambda: 801.65, **about)
    return (folder / "index.html").read_text()


def test_page_shows_cells_with_their_experiments_beside_the_papers_table(tmp_path, results):
    page = written(tmp_path / "sweep", results)
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == FILES
    assert "<h1>Gamma &amp; threshold</h1>" in page
    for arm in results.arms:
        assert f"<code>{arm.hash}</code></td><td><code>{arm.md5[:10]}</code>" in page
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "The paper's own numbers" in page
    listed = json.loads((tmp_path / "sweep" / "cells.json").read_text())
    assert [cell["label"] for cell in listed] == [arm.name for arm in results.arms]


def test_page_before_there_are_results_says_what_is_missing(tmp_path):
    page = written(tmp_path / "sweep", None, ["lora-only: the image is black"])
    assert {path.name for path in (tmp_path / "sweep").iterdir()} == {"index.html", "cells.json"}
    assert "No results yet: baseline, which the others are compared with, has not finished." in page
    assert "<li>lora-only: the image is black</li>" in page
