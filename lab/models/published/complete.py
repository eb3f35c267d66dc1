"""Whether a checkpoint has every weight of its models: the libraries only warn, and fill in random ones."""

import json
from pathlib import Path

import diffusers
import torch
import transformers

from lab.errors import LabError
from lab.models.published.selection import INDEX, parts_of, variant_of

LIBRARIES = {"diffusers": diffusers, "transformers": transformers}


def check_complete(place: Path, variant: str | None) -> None:
    """Compares the names in the files of a pipeline with those of its models; no weight is read.

    Raises:
        LabError: a model has weights that no file has.
    """
    # Their report of missing weights is a page, and the sentence says it.
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.set_verbosity_error()
    for part, (library, name) in parts_of(json.loads((place / INDEX).read_text())).items():
        cls = getattr(LIBRARIES[library], name)
        if not issubclass(cls, torch.nn.Module):
            continue
        _, report = cls.from_pretrained(
            place / part,
            variant=variant_of((path.name for path in (place / part).iterdir()), variant),
            device_map={"": "meta"},
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        if report["missing_keys"]:
            first, *others = sorted(report["missing_keys"])
            raise LabError(
                f"The checkpoint has no {first} of {part}{f' and {len(others)} more weights' if others else ''}: choose "
                "one that is complete, or save it anew with `save_pretrained`."
            )
