"""Captions from pixels are in the language that the world's own are in."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lab.world.captions import MAX_TOKENS, caption
from lab.world.detector import Detection, detect
from lab.world.reading import scene_of
from lab.world.render import render
from lab.world.scene import Scene, sample_scene
from lab.world.vocabulary import RELATIONS, token_count


@pytest.fixture(scope="module")
def read() -> list[tuple[Scene, Scene]]:
    """Scenes as they were drawn, and as they are read from their pixels."""
    rng = np.random.default_rng(3)
    drawn = [sample_scene(rng) for _ in range(200)]
    return [(scene, scene_of(detect(render(scene)), np.random.default_rng(i))) for i, scene in enumerate(drawn)]


def looks(scene: Scene) -> list[tuple[str, str, str]]:
    return [(item.shape, item.color, item.texture) for item in scene.objects]


@pytest.mark.long
def test_what_the_picture_tells_is_read_as_it_was_drawn(read):
    """Singles, triples, counts and interactions, with the objects in their order."""
    for drawn, found in read:
        if drawn.kind not in ("pair", "relation"):
            assert (found.kind, found.relation, looks(found)) == (drawn.kind, drawn.relation, looks(drawn))
        else:
            assert sorted(looks(found)) == sorted(looks(drawn))
            assert found.kind in ("pair", "relation")


def test_what_the_picture_leaves_open_is_said_as_often_as_the_world_says_it(read):
    """A third to two thirds of two objects are given a relation, all seven come, and what is said is true of them."""
    two = [(drawn, found) for drawn, found in read if drawn.kind in ("pair", "relation")]
    shares = [np.mean([scene.kind == "relation" for scene in scenes]) for scenes in zip(*two, strict=True)]
    assert abs(shares[0] - shares[1]) < 0.15
    assert {found.relation for _, found in two} == {None, *RELATIONS}
    for _, found in two:
        (one, other), dominant = found.objects, {"left": (1, 0), "right": (-1, 0), "top": (0, 1), "bottom": (0, -1)}
        for word, (x, y) in dominant.items():
            if found.relation and f" {word} " in f" {found.relation} ":
                assert x * (other.x - one.x) + y * (other.y - one.y) > 0, found


def test_captions_have_the_worlds_words_in_the_worlds_shares(read):
    """Four of a kind are counted, attributes are mentioned as often, and nothing is longer than a caption may be."""
    texts = [[caption(scene, np.random.default_rng([1, i])) for scene in pair] for i, pair in enumerate(read)]
    assert all(token_count(text) <= MAX_TOKENS for pair in texts for text in pair)
    counts = [Counter(word for text in side for word in text.split()) for side in zip(*texts, strict=True)]
    for word in ("two", "three", "four", "touching", "inside", "larger"):
        assert counts[0][word] == counts[1][word]
    for words in (("striped", "dotted", "checkered"), ("red", "green", "blue", "pink"), ("and",)):
        drawn, found = (sum(side[word] for word in words) for side in counts)
        assert abs(drawn - found) <= 0.2 * drawn


def test_more_objects_than_a_caption_names_are_not_all_named():
    """The surest three of different looks, so that a caption is found at all."""
    shapes = ("circle", "square", "star", "cross", "heart")
    found = [Detection(s, "red", "plain", (10 * i, 4, 10 * i + 9, 13), 1 - i / 10) for i, s in enumerate(shapes)]
    scene = scene_of(found, np.random.default_rng(0))
    assert [item.shape for item in scene.objects] == ["circle", "square", "star"]
    assert token_count(caption(scene, np.random.default_rng(0))) <= MAX_TOKENS


@pytest.mark.slow
def test_the_base_understands_captions_from_pixels_as_well_as_exact_ones():
    """Its loss on them is at most 2 % above that on exact captions of the same images, noise and timesteps."""
    import torch
    from diffusers import StableDiffusion3Pipeline

    pipe = StableDiffusion3Pipeline.from_pretrained(Path(__file__).parents[3] / "models/base/builtin")
    rng = np.random.default_rng(11)
    scenes = [sample_scene(rng) for _ in range(640)]
    images = [render(scene) for scene in scenes]
    read = [scene_of(detect(image), np.random.default_rng(i)) for i, image in enumerate(images)]
    # The same attributes are mentioned in both, where both are of one kind.
    exact, found = ([caption(s, np.random.default_rng([9, i])) for i, s in enumerate(side)] for side in (scenes, read))

    @torch.no_grad()
    def losses(pixels: torch.Tensor, *captions: list[str]) -> list[float]:
        latents = pipe.vae.encode(pixels.permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()
        latents = (latents - (pipe.vae.config.shift_factor or 0)) * pipe.vae.config.scaling_factor
        noise, sigma = torch.randn(latents.shape), torch.rand(len(latents))
        noisy = torch.lerp(latents, noise, sigma[:, None, None, None])
        found = []
        for texts in captions:
            prompt, _, pooled, _ = pipe.encode_prompt(
                texts, None, None, do_classifier_free_guidance=False, max_sequence_length=8
            )
            velocity = pipe.transformer(noisy, prompt, pooled, sigma * 1000, return_dict=False)[0]
            found.append((velocity - noise + latents).square().mean().item())
        return found

    torch.manual_seed(0)
    total = np.zeros(2)
    for start in range(0, len(images), 64):
        part = slice(start, start + 64)
        total += losses(torch.from_numpy(np.stack(images[part])), exact[part], found[part])
    print(f"loss on captions from pixels over that on exact ones: {total[1] / total[0]:.4f}")
    assert total[1] <= 1.02 * total[0]
