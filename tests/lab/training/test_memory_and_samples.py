"""Encoding and training take no more memory for more samples: anonymous memory, which no page cache can give back."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.tiny_base import tiny_base
from tests.tiny_encoded import encoded

ROOT = Path(__file__).parents[3]
FEW, MANY = 200, 20_000
MEASURE = """
import json, sys, threading, time
from pathlib import Path

import torch

torch.set_num_threads(1)
most, done = [0], threading.Event()

def watch():
    while not done.wait(0.02):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                most[0] = max(most[0], int(line.split()[1]))

threading.Thread(target=watch, daemon=True).start()
{work}
done.set()
print(json.dumps(most[0] / 1024))
"""
ENCODE = """
from lab.data.captioned import CaptionedImages
from lab.data.crops import Size
from lab.data.encode import Encoder
from lab.models.family import family_named
from lab.models.load import load_encoders, part_config, transformer_class

base, data = Path(sys.argv[1]), Path(sys.argv[2])
family = family_named(transformer_class(base), part_config(base, "transformer"))
encoder = Encoder(load_encoders(base, "float32"), family, [Size(16, 16)], 8)
encoder.encode(data, CaptionedImages(data / "index.parquet", data / "captions.parquet"), 64, data / "encoded")
"""
TRAIN = """
from lab.data.encoded import read_buckets
from lab.models.load import load_transformer
from lab.training.batches import Batches
from lab.training.loop import TrainConfig, Trainer
from lab.training.lora import add_lora
from taca import TacaConfig

base, data = Path(sys.argv[1]), Path(sys.argv[2])
transformer = load_transformer(base)
parameters = add_lora(transformer, 4, 4, None, seed=3)
config = TrainConfig(200, 16, 1e-3, 0.0, checkpoint_every=100, seed=3, mixed_precision="no")
Trainer(transformer, parameters, Batches(read_buckets(data), 32), config, TacaConfig(), data).run(lambda *_: None)
"""


def mebibytes(work: str, *arguments: Path) -> float:
    command = [sys.executable, "-c", MEASURE.replace("{work}", work), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def sample(folder: Path, count: int) -> Path:
    """As many rows as asked for, all of one small image."""
    folder.mkdir()
    Image.new("RGB", (16, 16), "red").save(folder / "0.png")
    ids, size = list(range(count)), [16] * count
    index = {"id": ids, "path": ["0.png"] * count, "width": size, "height": size}
    pq.write_table(pa.table(index), folder / "index.parquet")
    pq.write_table(pa.table({"id": ids, "caption": ["red circle"] * count}), folder / "captions.parquet")
    return folder


@pytest.mark.slow
def test_encoding_holds_no_more_for_a_hundred_times_the_samples(tmp_path):
    few, many = (mebibytes(ENCODE, tiny_base(), sample(tmp_path / str(count), count)) for count in (FEW, MANY))
    print(f"encode: {few:.0f} MiB for {FEW} samples, {many:.0f} MiB for {MANY}")
    # All embeddings are 164 MB.
    assert many - few < 40


@pytest.mark.slow
def test_training_holds_no_more_for_a_hundred_times_the_samples(tmp_path):
    folders = (encoded(tmp_path / str(count), count, size=(8, 8), rows=64) for count in (FEW, MANY))
    few, many = (mebibytes(TRAIN, tiny_base(), folder) for folder in folders)
    print(f"train: {few:.0f} MiB for {FEW} samples, {many:.0f} MiB for {MANY}")
    # All samples are 194 MB.
    assert many - few < 40
