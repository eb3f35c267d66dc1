"""Threads wait asleep, unless the user says otherwise."""

import pytest

from runtime.threads import quiet_waiting

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_every_runtime_is_told():
    assert quiet_waiting() == {"GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "1"}


@pytest.mark.parametrize(("name", "left"), [("OMP_WAIT_POLICY", set()), ("GOMP_SPINCOUNT", {"KMP_BLOCKTIME"})])
def test_what_the_user_has_set_stays(monkeypatch, name, left):
    monkeypatch.setenv(name, "ACTIVE")
    assert set(quiet_waiting()) == left


@pytest.mark.long
def test_stage_sets_it_before_openmp_is_loaded(toy):
    """The runtimes read it when they are loaded, and a stage's program loads none before it enters `stage`."""
    program = toy.root / "stages" / "write.py"
    before = "    loaded = open('/proc/self/maps').read()\n    print('gomp' in loaded, 'omp5' in loaded)\n"
    inside = "        print(os.environ['GOMP_SPINCOUNT'], os.environ['KMP_BLOCKTIME'])\n"
    text = program.read_text().replace("    with stage(", before + "    with stage(")
    program.write_text(text.replace(" as run:\n", " as run:\n" + inside))
    toy.env = {name: value for name, value in toy.env.items() if name not in NAMES}
    done = toy.run("python", "-m", "stages.write", "a")
    assert done.stdout == "False False\n3000 1\n", done.stderr
