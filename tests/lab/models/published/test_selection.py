"""Of a repository, the files that its pipeline loads and no others; and which pipelines the experiment can run."""

import pytest

from lab.errors import LabError
from lab.models.family import FAMILIES
from lab.models.published.kind import check_kind
from lab.models.published.selection import files_to_load
from taca.families import FAMILIES as KNOWN
from tests.published import make_checkpoint, published_config
from tests.published.layout import LAYOUTS


def files_of(name, tmp_path):
    folder = make_checkpoint(name, tmp_path / name)
    return published_config(name, "model_index.json"), {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_single_file_copies_and_other_variants_stay_away(name, tmp_path):
    index, files = files_of(name, tmp_path)
    unused = {*LAYOUTS[name].beside, *LAYOUTS[name].other, *(file for file in files if ".fp16" in file)}
    assert files_to_load(index, files, None) == sorted(files - unused)


def test_a_variant_is_taken_where_there_is_one(tmp_path):
    """The transformer and the autoencoder of SD3.5-medium have none of fp16."""
    index, files = files_of("sd35-medium", tmp_path)
    chosen = [file for file in files_to_load(index, files, "fp16") if ".safetensors" in file]
    assert chosen == [
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/model.fp16.safetensors",
        "text_encoder_3/model.fp16-00001-of-00002.safetensors",
        "text_encoder_3/model.fp16-00002-of-00002.safetensors",
        "text_encoder_3/model.safetensors.index.fp16.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


INDEX = {"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL"], "feature_extractor": [None, None]}
VAE = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"]


@pytest.mark.parametrize(
    ("beside", "chosen"),
    [
        (["vae/diffusion_pytorch_model.bin"], VAE),
        (["vae/diffusion_pytorch_model-00001-of-00001.safetensors"], VAE),
        (["vae/diffusion_pytorch_model.safetensors.index.json"], VAE),
        (["vae/old/config.json", "feature_extractor/preprocessor_config.json", "README.md"], VAE),
    ],
    ids=["other format", "shards beside the whole", "index of such shards", "other folders"],
)
def test_what_the_libraries_pass_over_stays_away(beside, chosen):
    assert files_to_load(INDEX, [*VAE, *beside], None) == ["model_index.json", *chosen]


@pytest.mark.parametrize(
    ("files", "variant", "fault"),
    [
        (VAE, "fp16", "No part of the pipeline has weights of the variant fp16: set `base.variant` to null."),
        ([], None, "model_index.json names the part vae, and there is no file of it: choose a complete pipeline."),
        (
            ["vae/config.json", "vae/diffusion_pytorch_model.bin"],
            None,
            "The part vae has no weights in safetensors, the only format that is read: convert diffusion_pytorch_model",
        ),
    ],
)
def test_what_cannot_be_loaded_is_one_sentence(files, variant, fault):
    with pytest.raises(LabError) as caught:
        files_to_load(INDEX, files, variant)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_bases_are_of_families_that_the_experiment_knows(name):
    check_kind(published_config(name, "model_index.json"), LAYOUTS[name].repo)


def test_each_family_of_the_experiment_is_one_that_taca_acts_on():
    assert {family.transformer.__name__ for family in FAMILIES} <= {family.transformer for family in KNOWN}


@pytest.mark.parametrize(
    ("index", "fault"),
    [
        (
            {"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"]},
            "some/base is a StableDiffusionXLPipeline without a transformer, which is where TACA acts: choose a ",
        ),
        (
            {"_class_name": "QwenImagePipeline", "transformer": ["diffusers", "QwenImageTransformer2DModel"]},
            "The base's transformer is a QwenImageTransformer2DModel, and the experiment knows SD3Transformer2DModel ",
        ),
        (
            {"_class_name": "FluxFillPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]},
            "some/base is a FluxFillPipeline, and the experiment draws with FluxPipeline alone: choose a base of that ",
        ),
    ],
)
def test_another_family_is_refused_with_the_librarys_function(index, fault):
    with pytest.raises(LabError) as caught:
        check_kind(index, "some/base")
    assert str(caught.value).startswith(fault)
    assert "`taca.apply_taca`" in str(caught.value)
