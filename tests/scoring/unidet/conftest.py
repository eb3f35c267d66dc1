"""Each variant of UniDet in turn, small and random."""

import pytest
from random_unidet import VARIANTS, randomised

from taca.scoring.unidet.model import UniDet, Variant


@pytest.fixture(scope="session", params=sorted(VARIANTS))
def name(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def variant(name) -> Variant:
    return VARIANTS[name]


@pytest.fixture(scope="session")
def model(variant) -> UniDet:
    return randomised(UniDet(variant))
