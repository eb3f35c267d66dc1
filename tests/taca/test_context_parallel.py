"""TACA under Ulysses context parallelism: two processes, each with half of the text and half of the image tokens."""

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from diffusers.models.attention_dispatch import attention_backend
from tiny_families import CASES as FAMILY_CASES
from tiny_models import CASES, predict
from tiny_sd3 import relative_error

from taca import TacaConfig, apply_taca, taca

PARALLEL = {case.name: case for case in CASES if case.name in ("flux", "flux2", "qwenimage", "qwenimage-padded")}
CONFIG = TacaConfig(gamma=1.5)


def run_rank(rank: int, name: str, folder: str) -> None:
    """One process: the parallel model's output for an active and an inactive pass, kept by the first rank."""
    import torch.distributed as dist
    from diffusers import ContextParallelConfig

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    case = PARALLEL[name]
    model = case.model().double()
    # diffusers counts accelerators, and there need be none.
    with (
        patch("torch.accelerator.device_count", return_value=1),
        patch("torch._C._get_accelerator", return_value=torch.device("cpu")),
    ):
        model.enable_parallelism(config=ContextParallelConfig(ulysses_degree=2))
    with torch.no_grad(), taca(model, CONFIG):
        # What is gathered from the ranks is waited for by the first thing done with it.
        outputs = [predict(model, case.inputs([t], torch.float64)) + 0.0 for t in (980.0, 500.0)]
    if rank == 0:
        torch.save(outputs, Path(folder) / "outputs.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("name", PARALLEL)
@torch.no_grad()
def test_two_ranks_compute_what_one_does(name, tmp_path):
    """In float64: every rank scales the text keys that it holds."""
    import torch.multiprocessing as mp

    case = PARALLEL[name]
    model = case.model().double()
    with taca(model, CONFIG):
        expected = [predict(model, case.inputs([t], torch.float64)) for t in (980.0, 500.0)]
    mp.start_processes(run_rank, args=(name, str(tmp_path)), nprocs=2, start_method="spawn")
    actual = torch.load(tmp_path / "outputs.pt")
    for one, other in zip(actual, expected, strict=True):
        assert relative_error(one, other) <= 1e-12
    assert relative_error(actual[0], predict(model, case.inputs([980.0], torch.float64))) > 1e-6


class Parallel:
    """What `enable_parallelism` leaves on a transformer, as far as the checks look."""

    def __init__(self, ring_degree: int = 1):
        self.context_parallel_config = self
        self.ring_degree = ring_degree


def test_ring_attention_by_the_native_kernel_is_refused():
    """Also where it is the process's default, and not where another is chosen."""
    model = PARALLEL["flux"].model()
    model._parallel_config = Parallel(ring_degree=2)
    with pytest.raises(ValueError, match="Ring attention needs a backend that returns log-sum-exp"):
        apply_taca(model, CONFIG)
    with attention_backend("_native_flash"):
        apply_taca(model, CONFIG)


def test_gradients_are_refused():
    """diffusers' backward pass takes queries to be as many as keys."""
    case = PARALLEL["flux"]
    model = case.model()
    model._parallel_config = Parallel()
    with taca(model, CONFIG), pytest.raises(ValueError, match=r"torch\.no_grad"):
        predict(model, case.inputs([980.0]))


@torch.no_grad()
def test_a_family_whose_split_is_not_known_is_refused():
    case = next(case for case in FAMILY_CASES if case.name == "chroma")
    model = case.model()
    model._parallel_config = Parallel()
    with taca(model, CONFIG), pytest.raises(ValueError, match="splits the tokens of ChromaTransformer2DModel"):
        predict(model, case.inputs([980.0], torch.float32))
