"""Stage `encode`: latents and text embeddings of the captioned sample."""

import sys
from pathlib import Path

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.params import load
from runtime.execution import stage

OUTPUT = "data/encoded"


def main() -> None:
    with stage("encode", sys.argv[1:], load, (CompbenchError, LabError)) as run:
        encode(run)


def encode(run) -> None:
    """Writes safetensors shards."""
    import torch

    from lab.data.captioned import CaptionedImages
    from lab.data.crops import sizes_for
    from lab.data.encode import Encoder
    from lab.models.load import family_of_base, load_encoders, part_config

    torch.set_num_threads(run.params.threads)
    settings, base = run.params.encode, Path("models/base") / run.params.base.name
    family = family_of_base(base)
    sizes = sizes_for(family, part_config(base, "vae"), settings.resolution, settings.aspects)
    folder, target = Path("data/sample"), run.fresh(OUTPUT)
    images = CaptionedImages(folder / "index.parquet", Path("data/captions.parquet"))
    encoder = Encoder(load_encoders(base, settings.dtype), family, sizes, settings.max_sequence_length)
    encoder.encode(folder, images, settings.batch_size, target)
    if settings.empty_caption:
        encoder.encode_empty_caption(target)
    run.log_metrics({"samples": len(images)})


if __name__ == "__main__":
    main()
