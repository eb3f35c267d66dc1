"""What is UniDet's own in its published files: what detectron2 writes beside the weights, and two variants."""

import pytest
import torch
from random_unidet import VARIANTS, assert_same_detections

from compbench.errors import CompbenchError
from compbench.scorers.unidet.checkpoint import load_model
from tests.compbench.tiny_checkpoints import published_unidet


def test_a_published_checkpoint_detects_as_the_model_that_it_was_made_of(tmp_path, name, model):
    pixels = torch.rand(1, 3, 64, 64) * 255
    constants = {"pixel_mean": torch.zeros(3, 1, 1), "backbone.fpn_output3.norm.num_batches_tracked": torch.tensor(3)}
    torch.save({"model": dict(model.state_dict()) | constants}, tmp_path / "model.pth")
    found, expected = (one(pixels)[0] for one in (load_model(VARIANTS[name], tmp_path, "model.pth"), model))
    assert len(expected.scores)
    # Where a tensor lies in memory decides between kernels that round differently.
    assert_same_detections(found, expected, of_score=1e-5, of_box=1e-3)


def test_the_other_variants_checkpoint_is_refused(tmp_path):
    published = published_unidet()
    published.write(tmp_path)
    with pytest.raises(CompbenchError, match=r"it lacks .+ and \d+ more; has besides .+"):
        load_model(VARIANTS["rs200"], tmp_path, published.file)
