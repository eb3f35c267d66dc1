"""The user study: what raters see, what they cannot see, and what their answers are said to say."""

import itertools
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from compbench.errors import CompbenchError
from compbench.tables import write_table
from lab.errors import LabError
from lab.generation.plan import SCHEMA, plan_images
from lab.study.__main__ import main, report_study, write_study
from lab.study.answers import Answer
from lab.study.page import CRITERIA
from lab.study.pairs import draw_pairs
from lab.study.tally import krippendorff_alpha, tally
from tests.browser import needs_browser, opened

ARMS = ("baseline", "taca-r64")
PROMPTS = [
    {"prompt": f"a red cube and <b> & {number}", "category": ("color", "shape")[number % 2], "index": number}
    for number in range(6)
]


def draw(folder: Path, prompts=PROMPTS) -> None:
    """An arm's images, two a prompt, as stage `generate` leaves them."""
    rows = plan_images(prompts, 2, seed=0)
    for row in rows:
        path = folder / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = np.random.default_rng([len(folder.name), row.seed]).integers(256, size=3)
        Image.new("RGB", (32, 32), tuple(map(int, shade))).save(path)
    write_table(folder / "index.parquet", map(vars, rows), SCHEMA)


@pytest.fixture
def images(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for arm in ARMS:
        draw(tmp_path / "results/images" / arm)
    return tmp_path / "results/images"


@pytest.fixture
def study(images) -> Path:
    write_study(list(ARMS), 4, 7)
    return Path("results/study/baseline-taca-r64")


def save(study: Path, name: str, choose) -> Path:
    """A rater's file, as the page saves it; `choose(pair)` names an arm or None."""
    key = json.loads((study / "key.json").read_text())
    answers = []
    for pair in key["pairs"]:
        arm = choose(pair)
        side = next((side for side in ("left", "right") if pair[side] == arm), "tie")
        answers.append(dict.fromkeys(CRITERIA, side))
    file = Path(f"answers-{name}.json")
    file.write_text(json.dumps({"study": key["study"], "rater": name, "answers": answers}))
    return file


class TestPairs:
    def test_a_seed_gives_prompts_order_and_sides(self, images):
        folders = {arm: images / arm for arm in ARMS}
        assert draw_pairs(folders, 5, 1) == draw_pairs(folders, 5, 1)
        assert len({tuple(pair.prompt_index for pair in draw_pairs(folders, 5, seed)) for seed in range(20)}) > 10

    def test_each_arm_is_on_the_left_of_half(self, images):
        folders = {arm: images / arm for arm in ARMS}
        for seed in range(20):
            pairs = draw_pairs(folders, 6, seed)
            assert [pair.left for pair in pairs].count("baseline") == 3
            assert all({pair.left, pair.right} == set(ARMS) for pair in pairs)
            assert all(pair.path.endswith(".png") for pair in pairs)


class TestPage:
    def test_nothing_tells_the_arms_apart_and_nothing_is_fetched(self, study):
        page = (study / "index.html").read_text()
        assert not re.search("baseline|taca|results/|png", re.sub(r"base64,[\w+/=]+", "", page))
        assert not re.search(r"""(src|href)=["']?https?:|url\(|@import|fetch\(""", page)

    def test_pixels_are_the_images_own(self, study):
        """Of each pair, on the side that the key says."""
        import base64
        from io import BytesIO

        data = json.loads(re.search(r'id="data">(.*?)</script>', (study / "index.html").read_text())[1])
        key = json.loads((study / "key.json").read_text())
        assert len(data["questions"]) == len(key["pairs"]) == 4
        for question, pair in zip(data["questions"], key["pairs"], strict=True):
            assert question["prompt"] == pair["prompt"]
            for side in ("left", "right"):
                shown = Image.open(BytesIO(base64.b64decode(question[side].partition(",")[2]))).convert("RGB")
                with Image.open(Path("results/images") / pair[side] / pair["path"]) as own:
                    assert np.array_equal(np.asarray(shown), np.asarray(own))

    @needs_browser
    def test_a_rater_with_a_keyboard_alone(self, study, tmp_path):
        """All answers by keys, a way back, the page closed in between; the saved file is one that the report takes."""
        with opened((study / "index.html").resolve().as_uri(), tmp_path / "profile") as page:
            page.save_downloads(tmp_path)
            page.until("document.getElementById('progress')?.textContent === 'Pair 1 of 4'")
            page.press("1", "2", "Enter")  # one question is open yet: it stays
            assert page.evaluate("document.getElementById('progress').textContent") == "Pair 1 of 4"
            page.press("3", "Enter", "Backspace", "Enter", "3", "3", "3", "Enter")
            page.evaluate("window.before = true; location.reload()")
            page.until("!window.before && document.getElementById('progress')?.textContent === 'Pair 3 of 4'")
            page.press("2", "2", "2", "Enter", "1", "1", "1", "Enter", "Enter")
            deadline = time.monotonic() + 20
            while not (saved := list(tmp_path.glob("answers-*.json"))):
                assert time.monotonic() < deadline, "nothing was saved"
                time.sleep(0.1)
        first, second, third, fourth = json.loads(saved[0].read_text())["answers"]
        assert list(first.values()) == ["left", "tie", "right"]
        assert set(second.values()) == {"right"}
        assert set(third.values()) == {"tie"}
        assert set(fourth.values()) == {"left"}
        assert "1 raters, 4 prompts" in report_study(study, saved)

    @needs_browser
    def test_it_fits_a_phone(self, study, tmp_path):
        with opened((study / "index.html").resolve().as_uri(), tmp_path / "profile") as page:
            page.until("document.getElementById('left')?.naturalWidth > 0")
            page.resize(360, 740)
            page.until("innerWidth === 360")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            heights = page.evaluate("[...document.querySelectorAll('label, button')].filter(e => e.offsetParent)"
                                    ".map(e => e.offsetHeight)")  # fmt: skip
            assert min(heights) >= 44


class TestReport:
    def test_answers_are_counted_for_arms_and_not_for_sides(self, study):
        files = [save(study, "one", lambda _: "taca-r64"), save(study, "two", lambda _: "taca-r64")]
        files.append(save(study, "three", lambda pair: "baseline" if pair["prompt_index"] % 2 else None))
        text = report_study(study, files)
        key = json.loads((study / "key.json").read_text())
        odd = sum(pair["prompt_index"] % 2 for pair in key["pairs"])
        share, n = 8 / (8 + odd), 8 + odd
        z = 1.959963984540054
        middle, half = (
            (share + z * z / (2 * n)) / (1 + z * z / n),
            z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)),
        )
        row = next(line for line in text.splitlines() if line.startswith("| Overall"))
        assert f"| {100 * (1 - share):.2f}% | {100 * share:.2f}% |" in row
        assert f"[{100 * (middle - half):.2f}%, {100 * (middle + half):.2f}%] | {4 - odd} | 0 : 4 | 0.125 |" in row
        assert "| Text-image alignment | 17.75% | 82.25% |" in text  # the paper's, below
        assert (study / "table3.md").read_text() == text

    def test_a_rater_who_saves_again_counts_once(self, study):
        first = save(study, "one", lambda _: "baseline").rename("earlier.json")
        text = report_study(study, [first, save(study, "one", lambda _: "taca-r64")])
        assert "1 raters" in text
        assert "| Overall | 0.00% | 100.00% |" in text

    def test_ties_alone_have_no_share(self, study):
        assert "| Overall | — | — | — | 4 | 0 : 0 | 1 | — |" in report_study(
            study, [save(study, "one", lambda _: None)]
        )

    def test_the_sign_test_is_over_prompts(self):
        """Ten raters who agree on three prompts are three prompts, not thirty answers."""
        answers = [Answer(str(r), p, "overall", "b") for r, p in itertools.product(range(10), range(3))]
        found = tally(answers, ("a", "b"))
        assert found.prompts == (0, 3)
        assert found.p_value == pytest.approx(2 * 0.5**3)
        assert found.alpha is None
        assert found.share == 1

    def test_alpha_is_the_textbooks(self):
        """Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section A; then its ends."""
        one, other = "0100000010", "1110010000"
        assert krippendorff_alpha(list(zip(one, other, strict=True))) == pytest.approx(0.095, abs=5e-4)
        assert krippendorff_alpha([("a", "a"), ("b", "b"), ("b",)]) == 1
        assert krippendorff_alpha([("a", "b")] * 5) < 0


class TestRefusals:
    def test_arms_of_different_prompts(self, images):
        draw(images / "other", PROMPTS[:5])
        with pytest.raises(LabError, match="baseline and other drew different prompts"):
            write_study(["baseline", "other"], 3, 0)

    def test_an_image_that_is_missing(self, images):
        for path in (images / "taca-r64").glob("color/samples/*"):
            path.unlink()
        with pytest.raises(CompbenchError, match=r"taca-r64/color/samples/.*does not exist: .*generate"):
            write_study(list(ARMS), 6, 0)
        assert not Path("results/study").exists()

    @pytest.mark.parametrize(
        ("arms", "count", "said"),
        [
            ([], 3, "Name two arms"),
            (["baseline", "baseline"], 3, "Name two arms"),
            (["baseline", "none-such"], 3, "no images of an arm none-such here: run `dvc repro generate@none-such`"),
            (list(ARMS), 0, "asks for 0 pairs, but the arms drew 6 prompts"),
            (list(ARMS), 7, "asks for 7 pairs, but the arms drew 6 prompts"),
        ],
    )
    def test_arms_and_counts_that_make_no_study(self, images, arms, count, said):
        with pytest.raises(LabError, match=said):
            write_study(arms, count, 0)

    def test_a_study_that_is_out(self, study):
        with pytest.raises(LabError, match="may be out with raters"):
            write_study(list(ARMS), 4, 8)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda saved: "no JSON", "cannot be read as answers (not JSON)"),
            (lambda saved: [saved], "is not a file of answers"),
            (lambda saved: {}, "is not a file of answers"),
            (lambda saved: saved | {"study": "0" * 16}, "answers the study 0000000000000000, not"),
            (lambda saved: saved | {"answers": saved["answers"][:3]}, "is not a file of answers"),
            (lambda saved: saved | {"answers": [{"overall": "left"}] * 4}, "is not a file of answers"),
            (lambda saved: saved | {"answers": [dict.fromkeys(CRITERIA, "both")] * 4}, "is not a file of answers"),
        ],
    )
    def test_files_that_are_not_of_this_study(self, study, change, said):
        file = save(study, "one", lambda _: None)
        changed = change(json.loads(file.read_text()))
        file.write_text(changed if isinstance(changed, str) else json.dumps(changed))
        with pytest.raises(LabError, match=re.escape(said)):
            report_study(study, [file])

    def test_the_program_says_one_sentence(self, images, monkeypatch):
        monkeypatch.setattr("sys.argv", ["study", "report"])
        with pytest.raises(SystemExit, match="Name a study and files"):
            main()
