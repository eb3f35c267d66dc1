"""Stage `encode`: latents and text embeddings of the captioned sample."""

import sys
from pathlib import Path

from lab.errors import LabError
from lab.params import load
from runtime.execution import stage

OUTPUT = "data/encoded"


def main() -> None:
    with stage("encode", sys.argv[1:], load, (LabError,)) as run:
        encode(run)


def encode(run) -> None:
    """Writes safetensors shards."""
    import torch

    from compbench.tables import read_table
    from lab.data.encode import encode as encode_samples
    from lab.models.load import load_base

    torch.set_num_threads(run.params.threads)
    settings = run.params.encode
    folder = Path("data/sample")
    captions = {row["id"]: row["caption"] for row in read_table(Path("data/captions.parquet"))}
    rows = [{**row, "caption": captions[row["id"]]} for row in read_table(folder / "index.parquet")]
    pipe = load_base(Path("models/base") / run.params.base.name, settings.dtype)
    encode_samples(pipe, folder, rows, settings.batch_size, settings.max_sequence_length, run.fresh(OUTPUT))
    run.log_metrics({"samples": len(rows)})


if __name__ == "__main__":
    main()
