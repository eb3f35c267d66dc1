"""Each variant of UniDet in turn, small and random."""

import pytest
import torch
from random_unidet import VARIANTS, randomised

from compbench.scorers.unidet.model import UniDet, Variant


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", params=sorted(VARIANTS))
def name(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def variant(name) -> Variant:
    return VARIANTS[name]


@pytest.fixture(scope="session")
def model(variant) -> UniDet:
    return randomised(UniDet(variant))
