"""ComfyUI's ways from a sampler's pass to one attention call, rebuilt in small: it does not install beside this stack.

Only what the node touches is here: a patcher with wrappers, the executor that calls them, the attention function that
asks for an override, and the four models' layouts of text and image tokens.
"""

import copy
from types import SimpleNamespace

import torch
import torch.nn.functional as F

HEADS, DIM = 2, 8


def attention(q, k, v, heads, mask=None, attn_precision=None, skip_reshape=False, skip_output_reshape=False, **kwargs):
    """Attention of (B, L, H * D), or with `skip_reshape` of (B, H, L, D)."""
    if not skip_reshape:
        q, k, v = (x.reshape(len(x), x.shape[1], heads, -1).transpose(1, 2) for x in (q, k, v))
    if mask is not None:
        mask = mask[None] if mask.ndim == 2 else mask
        mask = mask[:, None] if mask.ndim == 3 else mask
    output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return output if skip_output_reshape else output.transpose(1, 2).flatten(2)


def optimized_attention(*args, transformer_options=None, **kwargs):
    """As the models call it: an override, where there is one, is called in its place and given it."""
    override = (transformer_options or {}).get("optimized_attention_override")
    if override is None:
        return attention(*args, transformer_options=transformer_options, **kwargs)
    return override(attention, *args, transformer_options=transformer_options, **kwargs, _inside_attn_wrapper=True)


class Model(torch.nn.Module):
    """What the four have in common: tokens of width HEADS * DIM, and two blocks that remember their attention calls."""

    patch_size = 2
    pad_tokens_multiple = None

    def __init__(self):
        super().__init__()
        self.siglip_embedder = None
        self.calls = []
        self.mask = None

    def image_tokens(self, latent):
        """(B, N, HEADS * DIM), an image padded to whole patches."""
        height, width = latent.shape[-2:]
        latent = F.pad(latent, (0, -width % self.patch_size, 0, -height % self.patch_size))
        frames = latent if latent.ndim == 5 else latent[:, :, None]
        patches = F.unfold(frames.transpose(1, 2).flatten(0, 1), self.patch_size, stride=self.patch_size)
        return patches.unflatten(0, (len(latent), -1)).movedim(2, 3).flatten(1, 2)[..., : HEADS * DIM]

    def attend(self, tokens, options, *, mask=None, layout="split"):
        """One attention call on tokens as query, key and value."""
        q, k, v = tokens * 1.1, tokens * 0.9, tokens + 0.2
        if layout == "split":
            q, k, v = (x.unflatten(-1, (HEADS, DIM)).transpose(1, 2) for x in (q, k, v))
            output = optimized_attention(q, k, v, HEADS, mask, skip_reshape=True, transformer_options=options)
        else:
            output = optimized_attention(q, k, v, HEADS, mask=mask, transformer_options=options)
        self.calls.append((tokens.shape[1], output))
        return output


class Flux(Model):
    """Text first, already split into heads."""

    def forward(self, x, context, options, ref_latents=None, attention_mask=None):
        image = torch.cat([self.image_tokens(latent) for latent in (x, *(ref_latents or []))], 1)
        return self.attend(torch.cat([context, image], 1), options, mask=attention_mask)


class QwenImage(Flux):
    """Text first, a mask with one row for all queries; the latent has frames."""


class Sd35(Model):
    """Text first, not split into heads; a second attention of the image alone."""

    def forward(self, x, context, options):
        image = self.image_tokens(x)
        joint = self.attend(torch.cat([context, image], 1), options, layout="joined")
        return joint[:, context.shape[1] :] + self.attend(image, options, layout="joined")


class ZImage(Model):
    """[captions, vision features, images], each padded by itself, after refiners of each."""

    pad_tokens_multiple = 4

    def padded(self, tokens):
        return F.pad(tokens, (0, 0, 0, -tokens.shape[1] % self.pad_tokens_multiple), value=0.3)

    def forward(self, x, context, options, ref_latents=(), ref_contexts=(), siglip_feats=()):
        none = context[:, :1]
        captions = [*ref_contexts, *[none] * (len(ref_latents) - len(ref_contexts)), context]
        text = self.attend(torch.cat([self.padded(caption) for caption in captions], 1), options)
        images = [self.padded(self.image_tokens(latent)) for latent in (*ref_latents, x)]
        image = self.attend(torch.cat(images, 1), options)
        features = [feature.flatten(1, 2) for feature in siglip_feats]
        if ref_latents and self.siglip_embedder is not None:
            features += [none] * (len(ref_latents) + 1 - len(features))
        vision = [self.padded(feature) for feature in features]
        return self.attend(torch.cat([text, *vision, image], 1), options)


for kind, module, name in (
    (Flux, "comfy.ldm.flux.model", "Flux"),
    (QwenImage, "comfy.ldm.qwen_image.model", "QwenImageTransformer2DModel"),
    (Sd35, "comfy.ldm.modules.diffusionmodules.mmdit", "OpenAISignatureMMDITWrapper"),
    (ZImage, "comfy.ldm.lumina.model", "NextDiT"),
):
    kind.__module__, kind.__qualname__ = module, name


class Executor:
    """Calls the wrappers of a pass one in another, and in the innermost the model."""

    def __init__(self, base, wrappers):
        self.class_obj, self.wrappers = base, wrappers

    def __call__(self, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **conditions):
        if self.wrappers:
            inner = Executor(self.class_obj, self.wrappers[1:])
            arguments = (x, t, c_concat, c_crossattn, control, transformer_options)
            return self.wrappers[0](inner, *arguments, **conditions)
        return self.class_obj.diffusion_model(x, c_crossattn, transformer_options, **conditions)


class Patcher:
    """A model with its wrappers, as nodes pass it on."""

    def __init__(self, diffusion_model):
        self.model = SimpleNamespace(diffusion_model=diffusion_model)
        self.wrappers = {}

    def clone(self):
        clone = copy.copy(self)
        clone.wrappers = copy.deepcopy(self.wrappers)
        return clone

    def get_model_object(self, name):
        return getattr(self.model, name)

    def add_wrapper_with_key(self, kind, key, wrapper):
        self.wrappers.setdefault(kind, {}).setdefault(key, []).append(wrapper)

    def get_wrappers(self, kind, key):
        return self.wrappers.get(kind, {}).get(key, [])

    def predict(self, x, context, sigma, cond_or_uncond=(0,), override=None, **conditions):
        """One pass of the sampler: `x` and `context` hold all chunks, `sigma` one image's or one for each."""
        options = {"sigmas": torch.as_tensor(sigma).reshape(-1), "cond_or_uncond": list(cond_or_uncond)}
        if override is not None:
            options["optimized_attention_override"] = override
        self.model.diffusion_model.calls.clear()
        wrappers = [w for group in self.wrappers.get("apply_model", {}).values() for w in group]
        return Executor(self.model, wrappers)(x, None, None, context, None, options, **conditions)
