"""The real pipeline in a fresh copy of the repository, at a size that takes a minute or two."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.small_copy import ARMS, Copy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Copy, str]:
    copy = Copy(tmp_path_factory.mktemp("pipeline"))
    return copy, copy.repro()


def test_a_fresh_copy_runs_every_stage_but_the_base(finished):
    """The committed base is used as it is; every arm ends with images, scores and a place in the report."""
    copy, output = finished
    ran = copy.ran(output)
    assert "base" not in ran
    assert {f"score@{arm}" for arm in ARMS} <= set(ran)
    for arm in ARMS:
        assert len(list((copy.root / f"results/images/{arm}").rglob("*.png"))) == 24
    page = (copy.root / "results/report/index.html").read_text()
    assert all(arm in page for arm in ARMS)
    assert not re.search(r'(?:src|href)="(?!data:|#|https://arxiv)', page)


def test_a_second_repro_runs_nothing(finished):
    """Everything is up to date, and no lock file changes."""
    copy, _ = finished
    before = (copy.root / "dvc.lock").read_bytes()
    assert copy.ran(copy.repro()) == []
    assert (copy.root / "dvc.lock").read_bytes() == before


def test_outputs_take_no_place_twice(finished):
    """They are the files of DVC's cache by another name."""
    copy, _ = finished
    cached = {path.stat().st_ino for path in (copy.root / ".dvc" / "cache").rglob("*")}
    made = [path for folder in ("data/encoded", "results/images") for path in (copy.root / folder).rglob("*.*")]
    assert len(made) > 24
    assert [path for path in made if path.stat().st_ino not in cached and path.name != ".gitignore"] == []


def test_every_hash_in_the_report_leads_to_the_run_that_made_it(finished):
    """`make run HASH=...` knows the scores behind each number."""
    copy, _ = finished
    for arm in ARMS:
        (digest,) = (md5 for path, md5 in copy.outs()[f"score@{arm}"].items() if path.endswith(".parquet"))
        assert digest[:8] in (copy.root / "results/report/index.html").read_text()
        found = copy.run(sys.executable, "-m", "runtime.tracking.find", digest)
        assert found.returncode == 0, found.stderr
        assert f"score@{arm}" in found.stdout


def test_metrics_and_plots_are_shown_by_dvc(finished):
    """`dvc metrics show` and `dvc plots show` work."""
    copy, _ = finished
    metrics = copy.run("dvc", "metrics", "show")
    assert metrics.returncode == 0
    assert all(f"means/{arm}" in metrics.stdout for arm in ARMS)
    assert "gains/taca-r16" in metrics.stdout
    assert copy.run("dvc", "plots", "show", "-o", str(copy.root / ".plots")).returncode == 0


def test_one_arms_gamma_reruns_that_arm_and_the_report_alone(finished):
    """Besides `check`, which looks at all parameters, nothing else runs."""
    copy, _ = finished
    copy.edit({"arms": {"taca-free": {**copy.params()["arms"]["taca-free"], "gamma": 1.5}}})
    assert copy.ran(copy.repro()) == ["check", "generate@taca-free", "score@taca-free", "report"]


def test_plain_repro_refuses_bad_parameters_before_any_work(finished):
    """One sentence with key, value and what is allowed; no other stage runs."""
    copy, _ = finished
    good = (copy.root / "params.yaml").read_text()
    copy.edit({"arms": {"baseline": {**copy.params()["arms"]["baseline"], "gamma": -1.0}}})
    done = copy.run("dvc", "repro")
    (copy.root / "params.yaml").write_text(good)
    assert done.returncode != 0
    assert "`arms.baseline.gamma` is -1.0, but must be a finite number above 0" in done.stderr
    assert copy.ran(done.stdout) == ["check"]


@pytest.mark.parametrize("whole_group", [True, False], ids=["group", "dvc-alone"])
@pytest.mark.parametrize("program", ["train", "generate", "score"])
def test_a_kill_in_a_stage_changes_no_byte(finished, tmp_path, program, whole_group):
    """SIGKILL while the stage works, then `dvc repro`: the outputs are those of a run that was never killed."""
    whole, _ = finished
    copy = Copy(tmp_path)
    copy.write(whole.params())
    process = subprocess.Popen(
        ["dvc", "repro"],
        cwd=copy.root,
        env=copy.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list(copy.root.glob(f".work/{program}-*")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(5)
    if whole_group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    copy.repro()
    expected = whole.outs()
    assert {stage: copy.outs()[stage] for stage in copy.outs() if stage != "check"} == {
        stage: outs for stage, outs in expected.items() if stage in copy.outs() and stage != "check"
    }
