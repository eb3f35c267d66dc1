"""Settings of a machine: its own defaults, its file, variables that win over it, and faults in one sentence."""

import os

import pytest

from flows.settings import Machine, machine
from runtime.params import ParamsError


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("TACA_")]:
        monkeypatch.delenv(name)


def test_without_a_file_the_machine_says_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    found = machine(tmp_path)
    assert found.workers == 2 * os.cpu_count()
    assert found.gpus == ["0", "2"]
    assert (found.runner, found.repository) == ("local", None)


@pytest.mark.parametrize(("visible", "expected"), [("0,2", ["0", "2"]), ("GPU-1f", ["GPU-1f"]), ("", []), ("-1", [])])
def test_gpus_are_those_that_the_environment_leaves(monkeypatch, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert Machine().gpus == expected


def test_a_variable_wins_over_the_file(tmp_path, monkeypatch):
    (tmp_path / "machine.yaml").write_text("workers: 3\ngpus: [0, 1]\ngpu_hour_price: 2\n")
    monkeypatch.setenv("TACA_WORKERS", "5")
    monkeypatch.setenv("TACA_GPU_STAGES", "train, score")
    found = machine(tmp_path)
    assert (found.workers, found.gpus, found.gpu_hour_price) == (5, ["0", "1"], 2.0)
    assert found.gpu_stages == ["train", "score"]
    monkeypatch.setenv("TACA_GPUS", "")
    assert machine(tmp_path).gpus == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("workers: 0", "`workers` is 0, but must be an integer of at least 1."),
        ("worker: 2", "`worker` (2) is not a known key (did you mean `workers`?); the file takes workers, gpus, "),
        ("gpus: 1", "`gpus` is 1, but must be a list of GPUs, as CUDA_VISIBLE_DEVICES names them."),
        ("gpu_stages: [Train]", "`gpu_stages.0` is 'Train', but must be lower-case letters, digits, - and _, "),
        ("retries: 51", "`retries` is 51, but must be an integer from 0 to 50."),
        ("runner: slurm", "`runner` is 'slurm', but must be one of local, ray, kubernetes."),
        ("runner: ray", "`ray_address` is null, but must be auto or HOST:PORT, since `runner` is ray."),
        ("runner: kubernetes", "`work_pool` is null, but must be a work pool, since `runner` is kubernetes."),
        ("[", "not valid YAML at line "),
    ],
)
def test_a_fault_in_the_file_is_one_sentence(tmp_path, text, fault):
    (tmp_path / "machine.yaml").write_text(f"{text}\n")
    with pytest.raises(ParamsError) as caught:
        machine(tmp_path)
    (found,) = caught.value.faults
    assert fault in found
    assert found.replace(f"{tmp_path}/", "").startswith("machine.yaml: ")
    assert "\n" not in found


def test_a_fault_in_a_variable_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TACA_WORKERS", "many")
    with pytest.raises(ParamsError) as caught:
        machine(tmp_path)
    assert str(caught.value) == (
        "machine.yaml with TACA_WORKERS: `workers` is 'many', but must be an integer of at least 1."
    )
