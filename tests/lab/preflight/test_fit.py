"""What a base's configuration says of parameters, before any weight is there."""

import json
from pathlib import Path

from lab.estimate.base import Base
from lab.params.profile import profile_params
from lab.preflight.ahead import all_stages
from lab.preflight.findings import Findings
from lab.preflight.fit import check_fit_of_params

CONFIGS = Path(__file__).parents[2] / "published/configs/flux-dev"


def test_guidance_that_a_base_ignores_is_refused_for_every_arm_and_for_previews():
    """FLUX.1-schnell differs from FLUX.1-dev in this."""

    def read(name: str) -> dict:
        config = json.loads((CONFIGS / name).read_text())
        return config | ({"guidance_embeds": False} if name == "transformer/config.json" else {})

    found, params = Findings(), profile_params("flux-dev")
    check_fit_of_params(params, all_stages(params), Base(read), found)
    refused = [sentence.split(" is ")[0] for sentence in found.sentences]
    arms = [f"generate@{arm}: `arms.{arm}.guidance`" for arm in params.arms]
    assert refused == [*arms, "train: `train.preview.guidance`"]
    assert all(sentence.endswith("set it to 1.0.") for sentence in found.sentences)
