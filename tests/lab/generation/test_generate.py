"""Generation: fixed batches, paired seeds, resume without redoing, adapters for the early steps."""

import sys
from dataclasses import replace

import pytest
import torch
from diffusers.quantizers.bitsandbytes.bnb_quantizer import BnB4BitDiffusersQuantizer
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from lab.generation.acceleration import attention_order
from lab.generation.adapter import adapter
from lab.generation.embeddings import embed_prompts
from lab.generation.generate import Sampling, generate, pending
from lab.generation.load import load_drawing, load_text
from lab.generation.plan import batches, plan_images
from lab.models.blocks import compile_each_block
from lab.models.family import family_named
from lab.models.load import load_base, load_transformer, part_config, transformer_class
from lab.training.lora import add_lora, save_lora
from taca.hooks import TacaConfig, taca
from tests.published import make_checkpoint
from tests.tiny_base import tiny_base
from tests.tiny_flux import tiny_flux

SAMPLING = Sampling(num_inference_steps=4, guidance_scale=1.0, batch_size=2, height=64, width=64)
PROMPTS = [
    {"index": number, "prompt": f"red {shape}", "category": category}
    for number, (shape, category) in enumerate([("circle", "color"), ("star", "color"), ("ring", "shape")])
]
PLANNED = plan_images(PROMPTS, 1, 42)


@pytest.fixture(scope="module")
def pipe():
    return load_drawing(tiny_base(), "float32", "none")


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lora")
    transformer = load_transformer(tiny_base())
    with torch.no_grad():
        for parameter in add_lora(transformer, 4, 4, None, seed=3):
            parameter.add_(0.5)
    save_lora(transformer, folder, {})
    return folder


@pytest.fixture(scope="module", params=["sd35-medium", "flux-dev"])
def published(request, tmp_path_factory):
    return make_checkpoint(request.param, tmp_path_factory.mktemp("base") / request.param)


def embeddings(base, folder, guided=False, wanted=None, batch_size=2, dtype="float32"):
    prompts = [prompt["prompt"] for prompt in PROMPTS]
    family = family_named(transformer_class(base), part_config(base, "transformer"))
    return embed_prompts(
        load_text(base, dtype),
        family,
        prompts,
        set(prompts) if wanted is None else wanted,
        guided=guided,
        max_sequence_length=8,
        batch_size=batch_size,
        folder=folder,
    )


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return embeddings(tiny_base(), tmp_path_factory.mktemp("embeddings"))


def draw(pipe, embedded, planned, folder, sampling=SAMPLING):
    generate([pipe], embedded, pending(planned, sampling.batch_size, folder), sampling, folder)


def pixels(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


def test_names_and_seeds_follow_the_benchmarks_layout():
    """Indices count within a category, seeds through all images."""
    planned = plan_images(PROMPTS, 2, 42)
    assert [image.path for image in planned][1:5:3] == [
        "color/samples/red circle_000001.png",
        "shape/samples/red ring_000000.png",
    ]
    assert [image.seed for image in planned] == list(range(42, 48))


def test_an_arm_that_draws_fewer_images_draws_the_same_ones():
    """By name, seed and number: its scores are compared with the others' prompt by prompt."""
    all_three, firsts = plan_images(PROMPTS, 3, 42), plan_images(PROMPTS, 3, 42, firsts=1)
    assert firsts == all_three[::3]
    assert plan_images(PROMPTS, 3, 42, limit=1, firsts=2) == [
        image for image in plan_images(PROMPTS, 3, 42, limit=1) if image.index % 3 < 2
    ]


def test_the_last_batch_is_padded():
    """Every batch has the same size, since another size would change rounding."""
    assert [len(batch) for batch in batches(PLANNED, 2)] == [2, 2]


@pytest.mark.long
def test_a_killed_generation_ends_with_the_same_bytes_and_redoes_nothing(pipe, embedded, tmp_path):
    """Images that are there stay untouched; the missing ones come out as in an unbroken run."""
    draw(pipe, embedded, PLANNED, tmp_path / "whole")
    draw(pipe, embedded, PLANNED[:2], tmp_path / "broken")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "broken").rglob("*.png")}
    calls = []
    handle = pipe.transformer.register_forward_pre_hook(lambda *_: calls.append(1))
    draw(pipe, embedded, PLANNED, tmp_path / "broken")
    handle.remove()
    assert len(calls) == SAMPLING.num_inference_steps
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert pixels(tmp_path / "broken") == pixels(tmp_path / "whole")
    assert not list((tmp_path / "broken").rglob("*.tmp"))


def test_batches_drawn_at_once_are_those_drawn_one_after_the_other(pipe, embedded, tmp_path):
    """TACA acts on each copy of the base by itself; torch's threads are as many as before afterwards."""
    copies = [load_drawing(tiny_base(), "float32", "none") for _ in range(2)]
    threads, work = torch.get_num_threads(), pending(PLANNED, 2, tmp_path / "copies")
    torch.set_num_threads(2)
    try:
        with taca(copies[0], TacaConfig(gamma=1.2)), taca(copies[1], TacaConfig(gamma=1.2)):
            generate(copies, embedded, work, SAMPLING, tmp_path / "copies")
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        with taca(pipe, TacaConfig(gamma=1.2)):
            draw(pipe, embedded, PLANNED, tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    assert pixels(tmp_path / "copies") == pixels(tmp_path / "one")


def test_where_one_batch_fails_the_others_stop_at_their_next_step(pipe, embedded, tmp_path):
    """The fault is told, not that the other was stopped."""
    passes = []

    def fails(**_):
        raise OSError("no space left")

    fails._execution_device = torch.device("cpu")
    fails.scheduler = pipe.scheduler
    handle = pipe.transformer.register_forward_pre_hook(lambda *_: passes.append(1))
    many = Sampling(num_inference_steps=400, guidance_scale=1.0, batch_size=2, height=64, width=64)
    with pytest.raises(OSError, match="no space left"):
        generate([fails, pipe], embedded, pending(PLANNED, 2, tmp_path), many, tmp_path)
    handle.remove()
    assert len(passes) < 400


def test_a_resumed_arm_encodes_whole_batches_and_no_other_prompt(tmp_path):
    """What is encoded again has the same bits, since batches do not depend on what is missing."""
    whole = embeddings(tiny_base(), tmp_path / "whole", guided=True)
    part = embeddings(tiny_base(), tmp_path / "part", guided=True, wanted={"red star"})
    for key, tensor in whole.tensors.items():
        assert torch.equal(part.tensors[key][:2], tensor[:2])
        assert not part.tensors[key][2].any()
    assert all(torch.equal(part.negative[key], tensor) for key, tensor in whole.negative.items())


def test_images_from_embeddings_are_those_of_the_whole_pipeline(published, tmp_path):
    """Encoding apart changes no pixel: the same batch through the pipeline with its text encoders, guided."""
    sampling = Sampling(4, 3.0, 2, 64, 64)
    embedded = embeddings(published, tmp_path / "embeddings", guided=True)
    drawing = load_drawing(published, "float32", "none")
    generate([drawing], embedded, pending(PLANNED[:2], 2, tmp_path), sampling, tmp_path)
    expected = load_base(published, "float32")(
        prompt=["red circle", "red star"],
        generator=[torch.Generator().manual_seed(seed) for seed in (42, 43)],
        num_inference_steps=4,
        guidance_scale=3.0,
        max_sequence_length=8,
        height=64,
        width=64,
    ).images
    for planned, image in zip(PLANNED, expected, strict=False):
        with Image.open(tmp_path / planned.path) as made:
            assert made.tobytes() == image.tobytes()


def test_an_early_adapter_is_disabled_below_the_threshold(pipe, lora):
    """At late timesteps the transformer gives what the base gives, bit for bit; at early ones it does not."""

    def answer(timestep):
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            return pipe.transformer(
                hidden_states=torch.randn(1, 4, 16, 16, generator=generator),
                timestep=torch.tensor([timestep]),
                encoder_hidden_states=torch.randn(1, 16, 128, generator=generator),
                pooled_projections=torch.randn(1, 128, generator=generator),
                return_dict=False,
            )[0]

    plain = {timestep: answer(timestep) for timestep in (1000.0, 970.0, 969.9)}
    with adapter(pipe, lora) as name, taca(pipe.transformer, TacaConfig(gamma=1.0, adapter=name)):
        for _ in range(2):  # a second image is treated as the first was
            assert not torch.equal(answer(1000.0), plain[1000.0])
            assert not torch.equal(answer(970.0), plain[970.0])
            assert torch.equal(answer(969.9), plain[969.9])
    with adapter(pipe, lora):
        assert not torch.equal(answer(969.9), plain[969.9])
    assert all(torch.equal(answer(timestep), expected) for timestep, expected in plain.items())


def test_taca_and_an_adapter_together_change_the_image_and_leave_the_pipeline_as_it_was(pipe, embedded, lora, tmp_path):
    """After both contexts, the pipeline draws what it drew before."""
    draw(pipe, embedded, PLANNED[:2], tmp_path / "before")
    with adapter(pipe, lora) as name, taca(pipe, TacaConfig(gamma=2.0, adapter=name)):
        draw(pipe, embedded, PLANNED[:2], tmp_path / "during")
    draw(pipe, embedded, PLANNED[:2], tmp_path / "after")
    assert pixels(tmp_path / "before") == pixels(tmp_path / "after") != pixels(tmp_path / "during")


def test_images_are_whole_pngs_of_the_size_asked_for(pipe, embedded, tmp_path):
    """Every planned image is there and decodes; a null size is the base's own."""
    sampling = Sampling(1, 1.0, 2, height=48, width=32)
    generate([pipe], embedded, pending(PLANNED, 2, tmp_path), sampling, tmp_path)
    own = Sampling(1, 1.0, 2)
    generate([pipe], embedded, pending(PLANNED[:1], 2, tmp_path / "own"), own, tmp_path / "own")
    for path, size in [*((tmp_path / image.path, (32, 48)) for image in PLANNED), (tmp_path / "own", (64, 64))]:
        with Image.open(path if path.is_file() else path / PLANNED[0].path) as opened:
            opened.load()
            assert opened.size == size


def test_backends_of_attention_are_ordered_and_given_back():
    """In the order of the names, with none switched off; afterwards the order is what it was."""
    before = torch._C._get_sdp_priority_order()
    with attention_order(["math", "efficient", "cudnn", "flash"]):
        order = torch._C._get_sdp_priority_order()[:4]
        assert order == [int(backend) for backend in _backends("MATH", "EFFICIENT", "CUDNN", "FLASH")]
        assert torch.backends.cuda.cudnn_sdp_enabled()
    assert torch._C._get_sdp_priority_order() == before


def _backends(*names):
    from torch.nn.attention import SDPBackend

    members = {member.split("_")[0]: getattr(SDPBackend, member) for member in SDPBackend.__members__}
    return [members[name] for name in names]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="bitsandbytes is installed on Linux alone")
@pytest.mark.parametrize("base", [tiny_base, tiny_flux])
def test_a_base_in_four_bits_draws_nearly_what_the_whole_one_draws(base, tmp_path, monkeypatch):
    """On a CPU, with diffusers' question for a GPU left out; TACA acts in it."""
    monkeypatch.setattr(BnB4BitDiffusersQuantizer, "validate_environment", lambda *_, **__: None)
    embedded = embeddings(base(), tmp_path / "embeddings", dtype="bfloat16")
    # bfloat16 takes a processor without its instructions long.
    small = replace(SAMPLING, num_inference_steps=2, height=32, width=32)

    def images(quantization, gamma):
        folder = tmp_path / f"{quantization}-{gamma}"
        pipe = load_drawing(base(), "bfloat16", quantization)
        # In evaluation bitsandbytes packs weights for the CPU anew, in a form that wants layers of 32, 64, ... outputs.
        pipe.transformer.train()
        with taca(pipe, TacaConfig(gamma=gamma)):
            draw(pipe, embedded, PLANNED[:2], folder, small)
        return torch.stack([pil_to_tensor(Image.open(folder / image.path)).float() for image in PLANNED[:2]])

    whole, four_bits, with_taca = images("none", 1.0), images("nf4", 1.0), images("nf4", 4.0)
    assert 0 < (four_bits - whole).abs().mean() < 0.3 * whole.std()
    assert not torch.equal(with_taca, four_bits)


def test_an_offloaded_transformer_is_never_brought_to_the_device_as_a_whole(published, monkeypatch):
    """All else is there; the meta device stands for a GPU."""
    monkeypatch.setattr("lab.models.load.device_of", lambda folder: "meta")
    pipe = load_drawing(published, "bfloat16", "none", "group")
    assert (pipe.vae.device.type, pipe.transformer.device.type, pipe.transformer.dtype) == (
        "meta",
        "cpu",
        torch.bfloat16,
    )


@pytest.mark.slow
def test_compiled_blocks_draw_with_taca_in_six_graphs_at_most(published, tmp_path):
    """A graph for each kind of block, with and without TACA, and none more for a second batch."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    embedded = embeddings(published, tmp_path / "embeddings", guided=True)
    drawing = load_drawing(published, "float32", "none")
    compile_each_block(drawing.transformer)
    with taca(drawing, TacaConfig(gamma=1.2)):
        generate([drawing], embedded, pending(PLANNED, 2, tmp_path), SAMPLING, tmp_path)
    assert len(pixels(tmp_path)) == len(PLANNED)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 6
