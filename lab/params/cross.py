"""What values say of each other: references, and limits that depend on another key."""

import os
import re
from collections.abc import Iterator

from lab.params.sampling import sample_faults
from lab.params.sections import (
    DRAWING,
    WITHOUT_GAMMA,
    Acting,
    Adapter,
    Arm,
    Caption,
    Encode,
    Generate,
    Params,
    Prompts,
    PublishedAdapter,
    Score,
    Train,
)
from runtime.params.messages import closest, did_you_mean

PARSERS = ("rules", "spacy", "spacy-3.6")  # whatever else `prompts.parser` says is a file's path
SAMPLE_TABLE = "data/sample/index.parquet"  # the words that images came with
TABLES = (".csv", ".jsonl", ".parquet")
# By key of `score`: who answers from published weights.
PUBLISHED = {"attribute": "blip-vqa", "spatial": "unidet", "clip": "openai"}
# By section: what the built-in detector knows.
_DETECTED = {"prompts": "the built-in world's words", "base": "the drawings of the built-in base"}


def cross_faults(params: Params) -> list[str]:
    """One sentence for each fault between values that are right by themselves."""
    return [
        *_reference_faults(params),
        *_base_faults(params),
        *(fault for name, adapter in params.adapters.items() for fault in _adapter_faults(name, adapter, params)),
        *(fault for name, arm in params.arms.items() for fault in _arm_faults(name, arm)),
        *(
            fault
            for place, acting in enumerate(params.analyze.methods)
            for fault in _method_faults(f"analyze.methods.{place}", acting)
        ),
        *(fault for name, file in params.published_adapters.items() for fault in _published_faults(name, file, params)),
        *_folder_faults(params.prompts),
        *sample_faults(params.sample),
        *_caption_faults(params.caption),
        *_parser_faults(params.prompts),
        *_prompt_faults(params.prompts),
        *_generate_faults(params.generate),
        *_world_scorer_faults(params),
        *_weights_faults(params.score),
        *_training_faults(params.train, params.encode),
    ]


def _reference_faults(params: Params) -> Iterator[str]:
    for name, arm in params.arms.items():
        known = [*params.adapters, *params.published_adapters]
        if arm.adapter not in known:
            yield _no_such(f"arms.{name}.adapter", arm.adapter, "adapters", known)
        most = params.generate.images_per_prompt
        if arm.images_per_prompt is not None and arm.images_per_prompt > most:
            yield (
                f"`arms.{name}.images_per_prompt` is {arm.images_per_prompt}, but must be at most "
                f"`generate.images_per_prompt`, {most}."
            )
    adapter, known = params.analyze.adapter, [*params.adapters, *params.published_adapters]
    if adapter not in known:
        yield _no_such("analyze.adapter", adapter, "adapters", known)
    if params.report.baseline not in params.arms:
        yield _no_such("report.baseline", params.report.baseline, "arms", list(params.arms))


def _no_such(key: str, value: str, section: str, names: list[str]) -> str:
    hint = did_you_mean(closest(value, names))
    return f"`{key}` is {value!r}, but must be one of `{section}`: {', '.join(names)}{hint}."


def _base_faults(params: Params) -> Iterator[str]:
    base = params.base
    if base.source == "folder" and not os.path.isfile(f"{base.folder}/model_index.json"):
        yield (
            f"`base.folder` is {base.folder!r}, but must be a diffusers pipeline's folder, as `save_pretrained` writes "
            "it (it has no model_index.json)."
        )
    # An adapter that meets the base in another precision than it was trained on answers to other rounding errors.
    for section in ("encode", "generate", "analyze"):
        dtype = getattr(params, section).dtype
        if base.source != "world" and dtype != base.dtype:
            yield f"`{section}.dtype` is {dtype!r}, but must be {base.dtype}, that of the base (`base.dtype`)."


def _adapter_faults(name: str, adapter: Adapter, params: Params) -> Iterator[str]:
    key = f"adapters.{name}"
    if adapter.rank > 0 and adapter.alpha is None:
        yield f"`{key}.alpha` is missing; it must be a finite number above 0, since `{key}.rank` is {adapter.rank}."
    if adapter.keep_gamma and (adapter.rank == 0 or adapter.gamma == 1):
        why = f"`{key}.gamma` is 1" if adapter.rank else "nothing is trained"
        yield f"`{key}.keep_gamma` is true, but {why}: leave it out."
    # A published base's widths are known only once it is there; the stages check those.
    if params.base.source == "world" and adapter.rank > params.base.width:
        width = params.base.width
        yield f"`{key}.rank` is {adapter.rank}, but must be at most {width}, the width of the layers (`base.width`)."


def _arm_faults(name: str, arm: Arm) -> Iterator[str]:
    key = f"arms.{name}"
    yield from _method_faults(key, arm)
    yield from _guider_faults(key, arm)
    window = arm.guidance_window
    if window is not None and window[0] >= window[1]:
        yield f"`{key}.guidance_window` is {window}, but must go from a lower noise level to a higher one."
    if window is not None and arm.guidance == 1:
        yield (
            f"`{key}.guidance` is 1, which guides nothing, but `{key}.guidance_window` is {window}: give a scale above "
            "1, or leave the window out."
        )
    if arm.until is not None and arm.threshold_tokens is not None:
        yield (
            f"`{key}.until` is {arm.until}, but cannot be combined with `{key}.threshold_tokens`: write both noise "
            "levels as they are meant."
        )


def _method_faults(key: str, acting: Acting) -> Iterator[str]:
    """A method's own numbers: missing, or said where nothing would go by them."""
    draws, method = acting.method in DRAWING, acting.method
    if draws and acting.method_seed is None:
        yield f"`{key}.method_seed` is missing; it must be a seed, since `{key}.method` is {method}."
    if not draws and acting.method_seed is not None:
        yield (
            f"`{key}.method_seed` is {acting.method_seed}, but `{key}.method` is {method}, which draws nothing: leave "
            "it out."
        )
    if (method == "log-count-bias") != (acting.share is not None):
        needed = "must be given with" if acting.share is None else "is for"
        yield f"`{key}.share` {needed} the method log-count-bias alone, and `{key}.method` is {method}."
    if method in WITHOUT_GAMMA and acting.gamma != 1:
        yield f"`{key}.gamma` is {acting.gamma}, but must be 1.0, since `{key}.method` is {method}, which has its own."
    if acting.blocks is not None and method != "text-states":
        yield f"`{key}.blocks` is for the method text-states alone, and `{key}.method` is {method}: leave it out."
    if acting.until is not None and acting.until <= acting.threshold:
        yield f"`{key}.until` is {acting.until}, but must lie above `{key}.threshold`, {acting.threshold}."


def _guider_faults(key: str, arm: Arm) -> Iterator[str]:
    if arm.guider is not None and arm.guidance == 1:
        yield (
            f"`{key}.guidance` is 1, which guides nothing, but `{key}.guider` is {arm.guider}: give a scale above 1, "
            "or leave the guider out."
        )
    if arm.guider is not None and arm.guidance_window is not None:
        yield f"`{key}.guider` is {arm.guider}, but cannot be combined with `{key}.guidance_window`: leave one out."


def _prompt_faults(prompts: Prompts) -> Iterator[str]:
    if prompts.edition != "current" and prompts.source != "compbench":
        yield (
            f"`prompts.edition` is {prompts.edition!r}, but must be current, since `prompts.source` is "
            f"{prompts.source} and only the benchmark's own prompts have editions."
        )
    if prompts.split == "train+val" and prompts.source == "world":
        yield "`prompts.split` is 'train+val', but must be val or train, since `prompts.source` is world."
    if prompts.parser == "spacy-3.6" and prompts.source == "folder":
        yield (
            "`prompts.parser` is 'spacy-3.6', which knows the benchmark's own prompts alone, but `prompts.source` is "
            "folder: take rules, spacy, or the file that `make parse PROMPTS=...` writes."
        )


def _published_faults(name: str, adapter: PublishedAdapter, params: Params) -> Iterator[str]:
    key = f"published_adapters.{name}"
    if name in params.adapters:
        yield f"`{key}` has the name of one of `adapters`, but both write models/adapters/{name}: rename one of them."
    if (adapter.repo is None) != (adapter.revision is None):
        given, absent = ("repo", "revision") if adapter.revision is None else ("revision", "repo")
        yield f"`{key}.{absent}` is null, but must be given with `{key}.{given}`, or both be null for a local file."
    elif adapter.repo is None and not os.path.isfile(adapter.file):
        yield f"`{key}.file` is {adapter.file!r}, but must be a file that exists, since `{key}.repo` is null."


def _generate_faults(generate: Generate) -> Iterator[str]:
    if (generate.height is None) != (generate.width is None):
        given, absent = ("height", "width") if generate.width is None else ("width", "height")
        yield f"`generate.{absent}` is null, but must be given with `generate.{given}`, or both be null."
    if len(set(generate.attention)) < len(generate.attention):
        yield (
            f"`generate.attention` is {generate.attention}, but must name flash, cudnn, efficient and math once each."
        )
    if generate.offload == "group" and (generate.compile or generate.quantization != "none"):
        yield (
            "`generate.offload` is group, but must be none with `generate.compile` or `generate.quantization`: blocks "
            "that come and go can be neither compiled whole nor kept in 4 bits."
        )
    if generate.workers > 1 and (generate.compile or generate.quantization != "none" or generate.offload != "none"):
        yield (
            f"`generate.workers` is {generate.workers}, but must be 1 with `generate.compile`, `generate.quantization` "
            "or `generate.offload`, which are for one copy of the base on a GPU."
        )


def _folder_faults(prompts: Prompts) -> Iterator[str]:
    if prompts.source == "folder" and prompts.folder is None:
        yield "`prompts.folder` is null, but must be a folder's path, since `prompts.source` is folder."
    elif prompts.source == "folder" and not os.path.isdir(prompts.folder):
        yield f"`prompts.folder` is {prompts.folder!r}, but must be a folder that exists (there is none of that path)."
    elif prompts.source != "folder" and prompts.folder is not None:
        yield f"`prompts.folder` is {prompts.folder!r}, but must be null, since `prompts.source` is {prompts.source}."


def _caption_faults(caption: Caption) -> Iterator[str]:
    if caption.captioner != "table":
        if caption.table != SAMPLE_TABLE:
            yield (
                f"`caption.table` is {caption.table!r}, but must be {SAMPLE_TABLE}, since `caption.captioner` is "
                f"{caption.captioner}."
            )
    elif not caption.table.lower().endswith(TABLES) or not os.path.isfile(caption.table):
        yield (
            f"`caption.table` is {caption.table!r}, but must be a file that exists and ends in {', '.join(TABLES)}, "
            "since `caption.captioner` is table."
        )
    for field in re.findall(r"\{(\w*)\}", getattr(caption, "prompt", "")):
        if field != "alt":
            yield f"`caption.prompt` has {{{field}}}, but may have {{alt}} alone, the words that an image came with."


def _parser_faults(prompts: Prompts) -> Iterator[str]:
    if prompts.source == "compbench" and prompts.parser == "rules":
        yield (
            "`prompts.parser` is 'rules', but must be spacy-3.6, spacy, or the file that `make parse` writes, since "
            "`prompts.source` is compbench and the rules find no noun phrases in most of its complex prompts."
        )
    # The world's prompts bring their parse; that no other parser goes with them is said where they are made.
    elif prompts.source != "world" and prompts.parser not in PARSERS and not os.path.isfile(prompts.parser):
        yield (
            f"`prompts.parser` is {prompts.parser!r}, but must be rules, spacy, spacy-3.6, or a file that exists, such "
            "as data/parses/compbench.jsonl, which `make parse` writes."
        )


def _world_scorer_faults(params: Params) -> Iterator[str]:
    """Scorers that only the built-in world has."""
    for key in ("attribute", "spatial"):
        for section in ("prompts", "base"):
            source = getattr(params, section).source
            if getattr(params.score, key) == "detector" and source != "world":
                yield (
                    f"`score.{key}` is 'detector', but must be {PUBLISHED[key]}, since `{section}.source` is {source} "
                    f"and the detector knows {_DETECTED[section]} alone."
                )
                break
    if params.score.clip == "base" and params.base.source != "world":
        yield (
            f"`score.clip` is 'base', but must be {PUBLISHED['clip']}, since `base.source` is {params.base.source} and "
            "the built-in base alone brings a CLIP model."
        )


def _weights_faults(score: Score) -> Iterator[str]:
    chosen = [f"`score.{key}` is {name}" for key, name in PUBLISHED.items() if getattr(score, key) == name]
    chosen += [f"`score.quality` has {metric}" for metric in score.quality]
    if chosen and score.weights is None:
        yield (
            "`score.weights` is null, but must be the folder that `python -m compbench.weights` fills, since "
            f"{chosen[0]}."
        )


def _training_faults(train: Train, encode: Encode) -> Iterator[str]:
    if train.precision != "float32" and train.mixed_precision == "no":
        yield (
            f"`train.mixed_precision` is 'no', but must be bf16, since `train.precision` is {train.precision} and the "
            "adapter is float32."
        )
    if train.caption_dropout > 0 and not encode.empty_caption:
        yield (
            f"`encode.empty_caption` is False, but must be True, since `train.caption_dropout` is "
            f"{train.caption_dropout}."
        )
    yield from _preview_faults(train)
    if train.warmup_steps >= train.steps:
        yield (
            f"`train.warmup_steps` is {train.warmup_steps}, but must be below `train.steps`, which is {train.steps}."
        )


def _preview_faults(train: Train) -> Iterator[str]:
    if train.preview is None:
        return
    for key, other in (("every", "steps"), ("images", "held_out")):
        value, most = getattr(train.preview, key), getattr(train, other)
        if value > most:
            yield f"`train.preview.{key}` is {value}, but must be at most `train.{other}`, which is {most}."
