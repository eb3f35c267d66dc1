"""Every fault of the table, by the real command: its status, the one line that it says, files and MLflow's record."""

import subprocess

import pytest

from tests.faults.fault import NOBODY, OF_DVC, files
from tests.faults.registry import FAULTS
from tests.faults.table import PAGE, page

CASES = [pytest.param(fault, id=fault.name, marks=[] if fault.quick else [pytest.mark.slow]) for fault in FAULTS]


@pytest.mark.long
@pytest.mark.parametrize("fault", CASES)
def test_fault_is_one_sentence_and_changes_nothing(places, fault):
    if fault.nobody and subprocess.run([*NOBODY, "true"], capture_output=True).returncode != 0:
        pytest.skip("no user namespaces here")
    place = places(fault.place)
    fault.arrange(place)
    before = files(place.root)
    done = place.execute(fault)
    assert done.returncode == fault.status, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if not OF_DVC.fullmatch(line)]
    if fault.among:
        assert [line for line in lines + done.stdout.splitlines() if fault.pattern.fullmatch(line)], (
            done.stdout + done.stderr
        )
    else:
        said = "\n".join(lines)
        assert fault.pattern.fullmatch(said), said
    after = files(place.root)
    assert fault.status == 0 or {path for path in before.keys() | after if before.get(path) != after.get(path)} <= set(
        fault.changes
    )
    if fault.unreadable:
        return
    ends = list(fault.ends) or ["FAILED"] * fault.recorded
    place.until(lambda: [run.info.status for run in place.runs()] == ends)
    for run in place.runs() if fault.recorded else []:
        assert fault.said.partition("…")[0].removeprefix(f"{run.info.run_name}: ") in run.data.tags["error"]


def test_names_are_those_of_one_fault_each():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 60


def test_the_page_is_what_the_faults_are():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.faults.table`"
