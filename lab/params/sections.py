"""The sections of `params.yaml`, one model each; what is allowed is written in the description of each field."""

from typing import Annotated, Literal

from pydantic import Field

from runtime.params.fields import Name, Positive, Section, Seed, one_of

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a finite number above 0")]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a finite number of at least 0")]
Gamma = Annotated[float, Field(gt=0, allow_inf_nan=False, description="a finite number above 0 (1 changes nothing)")]
Threshold = Annotated[float, Field(ge=0, le=1000, description="a number from 0 to 1000, the scheduler's scale")]
# The number of image tokens that a threshold was chosen at; it is taken to that of the pictures.
ChosenAt = Annotated[
    int | None,
    Field(ge=1, description="the image tokens that `threshold` was chosen at, or null: it is meant as it is"),
]
Guidance = Annotated[float, Field(ge=1, allow_inf_nan=False, description="a finite number of at least 1 (1 is off)")]
Count = Annotated[int, Field(ge=0, description="an integer of at least 0")]
Flag = Annotated[bool, Field(description="true or false")]
Pixels = Annotated[int | None, Field(ge=8, description="an integer of at least 8, or null for the base's own size")]
Backends = Annotated[
    list[one_of("flash", "cudnn", "efficient", "math")],
    Field(min_length=4, max_length=4, description="a list of flash, cudnn, efficient and math, each once"),
]
Folder = Annotated[str | None, Field(description="a folder's path, or null when `source` is not folder")]
# DVC takes `sample.folder` for a dependency, so it is never null.
WorldFolder = Annotated[Literal["lab/world"], Field(description="lab/world, the code that draws")]
OwnFolder = Annotated[str, Field(min_length=1, description="a folder's path")]
ColumnName = Annotated[str, Field(min_length=1, description="a column's name")]
CaptionTable = Annotated[str, Field(min_length=1, description="a table's path")]
CaptionPrompt = Annotated[
    str,
    Field(pattern=r"\S", description="a text, in which {alt} stands for the words that an image came with"),
]
# Of mail or on the web.
CONTACT = r"^(mailto:)?[^\s@]+@[^\s@]+\.[^\s@]+$|^https?://\S+$"
METHODS = (
    *("temperature", "mass-only", "sharpening-only", "random-direction", "random-image-keys"),
    *("log-count-bias", "ratio-rule", "mass-rule", "text-states"),
)
# Which of them draw, by `method_seed`, and which do not go by gamma.
DRAWING = ("random-direction", "random-image-keys", "mass-rule")
WITHOUT_GAMMA = ("log-count-bias", "ratio-rule", "mass-rule")
Dtype = one_of("float32", "bfloat16", "float16")


class WorldBase(Section):
    """Stage `base`: the pipeline that everything else starts from, trained here on the built-in world."""

    name: Name
    source: one_of("world")
    threads: Positive
    seed: Seed
    scenes: Positive
    batch_size: Annotated[int, Field(ge=4, description="an integer of at least 4")]
    width: Annotated[int, Field(ge=32, multiple_of=32, description="a multiple of 32, the width of a head")]
    layers: Annotated[int, Field(ge=2, description="an integer of at least 2")]
    autoencoder_steps: Positive
    transformer_steps: Positive
    clip_steps: Positive


class HubBase(Section):
    """Stage `base`: a published pipeline, which is downloaded."""

    name: Name
    source: one_of("hub")
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name, as on the hub")]
    revision: Annotated[str, Field(min_length=1, description="a branch, a tag or a commit")]
    variant: Annotated[str | None, Field(pattern=r"^\w+$", description="a variant such as fp16, or null")]
    dtype: Dtype


class FolderBase(Section):
    """Stage `base`: a pipeline of your own, in the folder that `save_pretrained` wrote."""

    name: Name
    source: one_of("folder")
    folder: Annotated[str, Field(min_length=1, description="a folder's path")]
    dtype: Dtype


Base = Annotated[WorldBase | HubBase | FolderBase, Field(discriminator="source")]


class Prompts(Section):
    """Stage `prompts`."""

    source: one_of("world", "folder", "compbench")
    folder: Folder
    edition: one_of("current", "before-2025-09")
    parser: Annotated[str, Field(min_length=1, description="rules, spacy, spacy-3.6, or the path of a file of parses")]
    split: one_of("val", "train", "train+val")
    categories: Annotated[
        list[one_of("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")] | None,
        Field(min_length=1, description="a list of the benchmark's categories, or null for all that the source has"),
    ]
    per_category: Positive
    seed: Seed


class WorldSample(Section):
    """Stage `sample`: drawings of the built-in world."""

    source: one_of("world")
    folder: WorldFolder
    size: Positive
    seed: Seed


class FolderSample(Section):
    """Stage `sample`: images of your own with their captions."""

    source: one_of("folder")
    folder: OwnFolder
    size: Positive
    seed: Seed


class Hosted(Section):
    """Where files lie that images come from: a repository of the hub, a bucket, or a folder of this machine."""

    folder: OwnFolder
    repo: Annotated[str | None, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="a data set's owner/name, or null")]
    revision: Annotated[str | None, Field(min_length=1, description="a commit, branch or tag, or null without a repo")]
    address: Annotated[str | None, Field(pattern=r"^s3://[^/\s]+", description="s3://bucket/folder, or null")]
    files: Annotated[str, Field(min_length=1, description="a pattern of paths such as *.parquet, from there on")]
    size: Positive
    seed: Seed


class Looked(Hosted):
    """What is asked of every image that a stranger made."""

    min_side: Annotated[int, Field(ge=1, description="a number of pixels")]
    max_pixels: Positive
    max_bytes: Positive
    duplicate_distance: Annotated[int | None, Field(ge=0, le=63, description="0 to 63 bits, or null to keep all")]


class Columns(Section):
    """Names of a table's columns."""

    url: ColumnName
    caption: ColumnName
    width: ColumnName | None
    height: ColumnName | None
    sha256: ColumnName | None


class ImageColumns(Section):
    """Names of the columns of a table that holds images."""

    image: ColumnName
    caption: ColumnName


class Filter(Section):
    """What a column's values must be; a null passes none."""

    min: Annotated[float | None, Field(allow_inf_nan=False, description="a number")] = None
    max: Annotated[float | None, Field(allow_inf_nan=False, description="a number")] = None
    any_of: Annotated[list[str | bool | int] | None, Field(min_length=1, description="a list of values")] = None
    none_of: Annotated[list[str | bool | int] | None, Field(min_length=1, description="a list of values")] = None


Filters = Annotated[dict[str, Filter], Field(description="a mapping of columns to min, max, any_of, none_of")]


class UrlsSample(Looked):
    """Stage `sample`: images from the web, by tables of their addresses."""

    source: one_of("urls")
    columns: Columns
    filters: Filters
    max_aspect: Annotated[float | None, Field(ge=1, description="longer side by shorter side, or null")]
    candidates: Annotated[float, Field(ge=1, le=100, description="rows drawn for each image, 1 to 100")]
    contact: Annotated[
        str | None, Field(pattern=CONTACT, description="your address of mail or web, or null for that of TACA_CONTACT")
    ]
    honour_opt_outs: Flag
    loopback_port: Annotated[int | None, Field(ge=1, le=65535, description="a port, or null")]


class HubSample(Looked):
    """Stage `sample`: tables that hold the images themselves, as `datasets` writes them."""

    source: one_of("hub")
    columns: ImageColumns
    filters: Filters


class WebdatasetSample(Looked):
    """Stage `sample`: tar files of images and their words."""

    source: one_of("webdataset")
    caption: Annotated[str, Field(min_length=1, description="txt, or json:KEY for a value in the sample's JSON")]


Sample = Annotated[
    WorldSample | FolderSample | UrlsSample | HubSample | WebdatasetSample, Field(discriminator="source")
]


class PlainCaption(Section):
    """Stage `caption`: the built-in world's detector, or the words that images came with."""

    captioner: one_of("detector", "source")
    table: CaptionTable


class TableCaption(Section):
    """Stage `caption`: a table of the user's own."""

    captioner: one_of("table")
    table: CaptionTable


class EndpointCaption(Section):
    """Stage `caption`: a model that a server offers as OpenAI does."""

    captioner: one_of("endpoint")
    table: CaptionTable
    base_url: Annotated[
        str, Field(pattern=r"^https?://[^\s@?#]+$", description="an http(s) address without a user, such as one in /v1")
    ]
    model: Annotated[str, Field(min_length=1, description="the name of a model, as the server has it")]
    prompt: CaptionPrompt
    max_tokens: Positive
    temperature: Rate
    seed: Seed
    concurrency: Positive
    timeout: Rate
    retries: Count


class LlavaCaption(Section):
    """Stage `caption`: LLaVA on this machine."""

    captioner: one_of("llava")
    table: CaptionTable
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name, as on the hub")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="a commit, 40 hex digits")]
    prompt: CaptionPrompt
    max_tokens: Positive
    temperature: Rate
    seed: Seed
    dtype: Dtype
    batch_size: Positive


Caption = Annotated[PlainCaption | TableCaption | EndpointCaption | LlavaCaption, Field(discriminator="captioner")]


class Encode(Section):
    """Stage `encode`."""

    batch_size: Positive
    max_sequence_length: Positive
    dtype: Dtype
    resolution: Annotated[int | None, Field(ge=1, description="a number of pixels, or null for the base's own")]
    aspects: Annotated[list[Rate], Field(min_length=1, description="a list of at least one width / height")]
    empty_caption: Flag


class Preview(Section):
    """Images of held-out captions, drawn while an adapter is trained."""

    every: Positive
    images: Positive = 4
    num_inference_steps: Positive = 30
    guidance: Guidance = 1.0


class Train(Section):
    """Stage `train`: what all adapters share (Eq. 13)."""

    steps: Positive
    batch_size: Positive
    learning_rate: Rate
    weight_decay: Decay
    held_out: Positive
    checkpoint_every: Positive
    seed: Seed
    precision: one_of("float32", "bf16", "nf4")
    mixed_precision: one_of("no", "bf16")
    targets: Annotated[
        list[str] | None, Field(min_length=1, description="a list of ends of layers' names, or null for the base's own")
    ]
    learning_rate_schedule: one_of("constant", "linear", "cosine")
    warmup_steps: Count
    max_gradient_norm: Annotated[
        float | None, Field(gt=0, allow_inf_nan=False, description="a finite number above 0, or null")
    ]
    gradient_accumulation: Positive
    gradient_checkpointing: Count
    compile: Flag
    caption_dropout: Annotated[float, Field(ge=0, lt=1, description="a number of at least 0 and below 1")]
    timesteps: one_of("uniform", "scheduled")
    guidance: Annotated[float | None, Field(ge=0, allow_inf_nan=False, description="a number of at least 0, or null")]
    deterministic: Flag
    preview: Annotated[
        Preview | None, Field(description=f"a mapping with the keys {', '.join(Preview.model_fields)}, or null")
    ]


class Adapter(Section):
    """One LoRA adapter; rank 0 trains nothing and stands for "no adapter"."""

    rank: Annotated[int, Field(ge=0, description="an integer of at least 0 (0 trains no adapter)")]
    alpha: Annotated[float | None, Field(gt=0, allow_inf_nan=False, description="a finite number above 0")] = None
    gamma: Gamma = 1.0
    threshold: Threshold = 970.0
    threshold_tokens: ChosenAt = None
    # Whether the velocity that is aimed at moves by what gamma does to the frozen base (docs/training.md).
    keep_gamma: Flag = False


class PublishedAdapter(Section):
    """One LoRA that someone else trained: a file of a repository on the hub, or, without one, on this machine."""

    repo: Annotated[str | None, Field(min_length=3, description="a repository's owner/name, or null for a local file")]
    revision: Annotated[
        str | None, Field(min_length=1, description="a commit, branch or tag, or null for a local file")
    ]
    file: Annotated[str, Field(min_length=1, description="a file's path in the repository, or on this machine")]
    sha256: Annotated[
        str | None,
        Field(pattern="^[0-9a-f]{64}$", description="64 hex digits, or null to record them when it is first fetched"),
    ]


class Generate(Section):
    """Stage `generate`: what all arms share."""

    num_inference_steps: Positive
    batch_size: Positive
    seed: Seed
    images_per_prompt: Positive
    limit: Annotated[int | None, Field(ge=1, description="an integer of at least 1, or null for all prompts")]
    max_sequence_length: Positive
    height: Pixels
    width: Pixels
    dtype: Dtype
    quantization: one_of("none", "nf4")
    other_precision: Flag
    attention: Backends
    compile: Flag
    offload: one_of("none", "group")
    workers: Positive


class Acting(Section):
    """What happens to the text that image queries read, and when."""

    gamma: Gamma
    threshold: Threshold
    # By `gamma` (docs/library.md); temperature is TACA.
    method: one_of(*METHODS) = "temperature"
    method_seed: Annotated[int | None, Field(ge=0, description="a seed of the methods that draw, or null")] = None
    share: Annotated[float | None, Field(gt=0, allow_inf_nan=False, description="a number above 0, or null")] = None
    until: Annotated[
        float | None, Field(gt=0, le=1000, description="a noise level up to 1000, from which on nothing acts, or null")
    ] = None
    # Where text-states multiplies them, by `gamma`, counted from 0.
    blocks: Annotated[list[Count] | None, Field(min_length=1, description="a list of blocks, or null for all")] = None


class Arm(Acting):
    """One way of generating."""

    guidance: Guidance
    adapter: Name
    adapter_scope: one_of("early", "all")
    threshold_tokens: ChosenAt = None
    # The first images of each prompt alone; null: all of `generate.images_per_prompt`.
    images_per_prompt: Annotated[int | None, Field(ge=1, description="an integer of at least 1, or null")] = None
    # Stable Diffusion 3 alone: the scale holds from the first noise level on and below the second.
    guidance_window: Annotated[
        list[Threshold] | None,
        Field(
            min_length=2, max_length=2, description="a list of two noise levels from 0 to 1000, or null: in all steps"
        ),
    ] = None
    # Stable Diffusion 3 alone: who combines the branches of guidance; null: the pipeline itself.
    guider: Annotated[
        Literal["cfg-zero-star", "apg"] | None, Field(description="cfg-zero-star, apg, or null for plain guidance")
    ] = None


class Score(Section):
    """Stage `score`: which scorer answers each question, how, and where it computes."""

    attribute: one_of("detector", "blip-vqa")
    spatial: one_of("detector", "unidet")
    clip: one_of("base", "openai")
    quality: Annotated[list[one_of("musiq", "maniqa")], Field(description="a list of musiq, maniqa, both or none")]
    mode: one_of("official", "corrected")
    weights: Annotated[str | None, Field(description="a folder's path, or null when no published scorer is chosen")]
    extra_tensors: Flag
    device: one_of("cpu", "cuda")
    dtype: one_of("float32", "float16")
    batch_size: Positive


class Analyze(Section):
    """Stage `analyze`."""

    prompts: Annotated[int, Field(ge=2, description="an integer of at least 2")]
    gamma: Gamma
    threshold: Threshold
    gammas: Annotated[list[Gamma], Field(min_length=1, description="a list of at least one gamma")]
    thresholds: Annotated[list[Threshold], Field(min_length=1, description="a list of at least one threshold")]
    methods: Annotated[list[Acting], Field(description="a list of methods, as arms have them")]
    guidance: Guidance
    adapter: Name
    dtype: Dtype


class Report(Section):
    """Stage `report`."""

    baseline: Name
    bootstrap: Positive
    seed: Seed
    # As many as `score` leaves thumbnails of (`lab.thumbnails`, which takes Pillow).
    grid_prompts: Annotated[int, Field(ge=1, le=48, description="an integer from 1 to 48")]


class Tracking(Section):
    """Where the runs go in MLflow."""

    experiment: Annotated[str, Field(min_length=1, description="the name of an MLflow experiment")]


class Params(Section):
    """All of `params.yaml`."""

    threads: Positive
    base: Base
    prompts: Prompts
    sample: Sample
    caption: Caption
    encode: Encode
    train: Train
    adapters: Annotated[dict[Name, Adapter], Field(min_length=1, description="a mapping of at least one name")]
    published_adapters: dict[Name, PublishedAdapter]
    generate: Generate
    arms: Annotated[dict[Name, Arm], Field(min_length=1, description="a mapping of at least one name")]
    score: Score
    analyze: Analyze
    report: Report
    tracking: Tracking

    @property
    def experiment(self) -> str:
        """The MLflow experiment that runs go to."""
        return self.tracking.experiment
