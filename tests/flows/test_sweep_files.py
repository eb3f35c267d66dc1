"""The sweeps of this repository, and what the words of a sweep's file mean."""

import pytest

from flows.sweeps.definition import SWEEPS, Search, Sweep, labelled, read_sweep
from flows.sweeps.progress import Progress
from flows.sweeps.search import check_rungs, search
from lab.errors import LabError
from lab.params import validate
from lab.params.variation import varied
from lab.report.paper import paper_table
from runtime.errors import StageError
from runtime.params import read_yaml
from tests.conftest import ROOT

DEFAULTS = ROOT / "experiments" / "defaults.yaml"
CELLS = {
    "table4": "baseline lora-only gamma-1.1 gamma-1.2 gamma-1.3",
    "table5": "baseline gamma-1.15 gamma-1.20 gamma-1.25 threshold-970 threshold-941.75 threshold-900 "
    "threshold-669 threshold-0",
    "guidance": "matched-taca early-2 middle-2 zero-star-2 apg-2 random-1 random-3 "
    + " ".join(f"guidance-{scale}+{method}" for scale in (1, 1.5, 2, 3) for method in ("none", "taca")),
    "table7": " ".join(f"guidance-{scale}+without guidance-{scale}+with" for scale in (3, 5, 10)),
    "2x2": "gamma-off+lora-off gamma-off+lora-on gamma-on+lora-off gamma-on+lora-on",
    "controls": "baseline taca mass-only sharpening-only gamma-inverse random-image-keys random-direction "
    "log-count-bias later ratio-rule mass-rule text-states-2",
    "undo": "none+gamma-off none+gamma-on "
    + " ".join(
        f"s{seed}+{recipe}+gamma-{gamma}"
        for seed in (3, 4, 5)
        for recipe in ("plain", "taca", "kept")
        for gamma in ("off", "on")
    ),
    "rank": "baseline rank-4 rank-16 rank-64",
    "search": "baseline",
}


@pytest.fixture(scope="module")
def params():
    return read_yaml(DEFAULTS)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "experiments" / "sweeps").glob("*.yaml")))
def test_each_sweep_has_the_cells_that_the_guide_lists(params, name):
    """And each of them is a valid experiment, one that the paper's table is shown beside where there is one."""
    sweep = read_sweep(ROOT, name)
    cells = dict(labelled(sweep))
    assert list(cells) == CELLS[name].split()
    assert f"| `{name}` |" in (ROOT / "docs" / "flows.md").read_text()
    for label, overrides in cells.items():
        varied(params, sweep.like, overrides, label)
    assert sweep.paper is None or f"Table {sweep.paper[-1]}: " in paper_table(sweep.paper).source


@pytest.mark.parametrize(
    ("overrides", "arm", "adapter"),
    [
        ({}, {}, {}),
        ({"gamma": 1.4, "threshold": 950.0}, {"gamma": 1.4, "threshold": 950.0}, {"gamma": 1.4, "threshold": 950.0}),
        ({"arm.gamma": 1.4}, {"gamma": 1.4}, {}),
        ({"adapter.gamma": 1.4}, {}, {"gamma": 1.4}),
        ({"guidance": 7.0, "adapter_scope": "all"}, {"guidance": 7.0, "adapter_scope": "all"}, {}),
        ({"rank": 8}, {}, {"rank": 8, "alpha": 8.0}),
    ],
)
def test_what_overrides_mean(params, overrides, arm, adapter):
    """A cell is the arm that it is like, adapter included, but for what its overrides say."""
    made, name = varied(params, "taca-r16", overrides, "cell")
    assert made["arms"][name] | {"adapter": ""} == params["arms"]["taca-r16"] | arm | {"adapter": ""}
    assert made["adapters"][made["arms"][name]["adapter"]] == params["adapters"]["taca-r16"] | adapter
    assert list(made["arms"]) == [name] == [made["report"]["baseline"]]


def test_a_cell_keeps_the_adapter_that_the_analysis_draws_with(params):
    """Its params.yaml would be refused without, and its report has no figures then."""
    made, _ = varied(params, "taca-free", {"gamma": 1.1}, "cell")
    assert made["analyze"]["adapter"] in made["adapters"]
    assert len(made["adapters"]) == 2
    validate(made)


FAULTS = [
    ("resampled: seed", "`resampled` is 'seed', but must be an axis of `grid`"),
    ("best: {most: [two]}", "`best.most` names 'two', but must name cells: off, one"),
    ("contrasts: {effect: {one: 1, of: -1}}", "`contrasts.effect` names 'of', but must name cells: off, one"),
    ("contrasts: {effect: {one: 1, 'off': -2}}", "`contrasts.effect` weighs .* weights must sum to zero"),
]


@pytest.mark.parametrize(("asked", "sentence"), FAULTS)
def test_a_question_that_names_no_cells_or_weighs_nothing_is_refused(tmp_path, asked, sentence):
    (tmp_path / SWEEPS).mkdir(parents=True)
    text = 'title: s\nlike: taca-free\ncompare_with: one\ncells: {"off": {gamma: 1.0}, one: {}}\n'
    (tmp_path / SWEEPS / "mine.yaml").write_text(text + asked)
    with pytest.raises((StageError, LabError), match=sentence):
        read_sweep(tmp_path, "mine")


def test_overrides_of_rank_limit_and_other_keys(params):
    made, name = varied(params, "taca-r16", {"rank": 0, "limit": 5, "train.steps": 7, "gamma": 1.5}, "cell")
    assert made["arms"][name]["adapter"] == "none"
    assert (made["generate"]["limit"], made["train"]["steps"]) == (5, 7)
    assert made["train"] == params["train"] | {"steps": 7}


def searching(**changes):
    settings = {"method": "random", "samples": 4, "seed": 1, "space": {"gamma": (1.0, 1.6)}, **changes}
    return Sweep(title="s", like="taca-free", compare_with="one", cells={"one": {}}, search=Search(**settings))


def test_a_random_search_draws_the_same_cells_each_time(tmp_path, params):
    (tmp_path / "params.yaml").write_text(DEFAULTS.read_text())

    def drawn(sweep):
        found = []
        search(tmp_path, sweep, Progress(tmp_path, "s", sweep, print), found.extend)
        return found

    first = drawn(searching())
    assert len({label for label, _ in first}) == 4
    assert all(1.0 <= overrides["gamma"] <= 1.6 for _, overrides in first)
    assert drawn(searching()) == first
    assert drawn(searching(seed=2)) != first


@pytest.mark.parametrize(
    ("rungs", "sentence"),
    [
        ([20, 10], "must grow"),
        ([7, 20], "is no whole number of batches of 10"),
        ([10, 200], "or more than the 100 prompts there are"),
    ],
)
def test_rungs_that_are_no_whole_batches_are_refused(params, rungs, sentence):
    """An image depends, by rounding, on its place in its batch."""
    settings = params | {"generate": params["generate"] | {"batch_size": 10, "images_per_prompt": 1}}
    settings["prompts"] = params["prompts"] | {"per_category": 100}
    check_rungs(searching(rungs=[10, 50]).search, settings)
    with pytest.raises(StageError, match=sentence):
        check_rungs(searching(rungs=rungs).search, settings)


@pytest.mark.parametrize("option", ["rungs: [10, 50]", "objective: color", "parallel: 4"])
def test_what_a_random_search_cannot_honour_is_refused(tmp_path, option):
    (tmp_path / SWEEPS).mkdir(parents=True)
    text = (
        "title: s\nlike: taca-free\ncompare_with: one\ncells: {one: {}}\n"
        f"search: {{method: random, samples: 4, seed: 1, space: {{gamma: [1.0, 1.6]}}, {option}}}\n"
    )
    (tmp_path / SWEEPS / "mine.yaml").write_text(text)
    key = option.partition(":")[0]
    with pytest.raises(StageError, match=f"mine.yaml: `search.{key}` goes with method optuna"):
        read_sweep(tmp_path, "mine")
    (tmp_path / SWEEPS / "mine.yaml").write_text(text.replace(f", {option}", ""))
    assert read_sweep(tmp_path, "mine").search.samples == 4
