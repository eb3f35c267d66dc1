"""Every execution that can still speak says what it cost, however it ends."""

import signal

import pytest

from runtime.execution.cost import costs, gpus_used


def test_gpus_count_together_and_have_a_price():
    assert costs(1800.0, 2, 1.5) == {"cost/device_seconds": 3600.0, "cost/gpu_hours": 1.0, "cost/price": 1.5}


def test_cpu_counts_once_and_costs_nothing():
    assert costs(1800.0, 0, 1.5) == {"cost/device_seconds": 1800.0, "cost/gpu_hours": 0.0, "cost/price": 0.0}


@pytest.mark.gpu
def test_only_gpus_with_memory_of_this_process_count():
    import torch

    torch.zeros(1, device="cuda:0")
    assert gpus_used() == 1


def costs_of(run):
    """Seconds, GPU hours and price of a run; all three are there."""
    return [run.data.metrics[f"cost/{name}"] for name in ("device_seconds", "gpu_hours", "price")]


@pytest.mark.long
def test_finished_and_failed_stages_log_what_they_cost(toy):
    assert toy.run("python", "-m", "stages.write", "a", TOY_SECONDS="0.2", TOY_FAULT="known").returncode == 1
    assert toy.run("python", "-m", "stages.write", "a", TOY_SECONDS="0.2").returncode == 0
    failed, finished = toy.ended_runs(2)
    seconds, *rest = costs_of(failed)
    assert 0.2 < seconds <= (failed.info.end_time - failed.info.start_time) / 1000
    assert rest == [0.0, 0.0]
    seconds, *rest = costs_of(finished)
    assert seconds == pytest.approx(finished.data.metrics["system/wall_seconds"], abs=0.1)
    assert rest == [0.0, 0.0]


@pytest.mark.long
def test_stopped_stage_logs_what_it_cost(toy):
    process = toy.start("python", "-m", "stages.write", "a", TOY_SECONDS="0.5")
    toy.until(lambda: len(toy.made()) >= 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 128 + signal.SIGTERM
    (run,) = toy.ended_runs(1)
    assert run.info.status == "KILLED"
    assert costs_of(run)[0] > 1.0
