"""What the header of an adapter's file says about the gamma and threshold that it was trained with."""

import json
import os
import struct
from os import PathLike
from pathlib import Path

from taca.errors import TacaError

# As diffusers and peft call an adapter's file.
_WEIGHT_NAME = "pytorch_lora_weights.safetensors"
# As the format has it.
_LONGEST_HEADER = 100_000_000
# What the header calls them.
_KEYS = {"gamma": "taca.gamma", "threshold": "taca.threshold"}


def trained_with(
    repo_or_path: str | PathLike[str],
    weight_name: str | None,
    revision: str | None,
    token: str | bool | None,
    local_files_only: bool,
) -> dict[str, float]:
    """Gamma and threshold; arguments and errors are those of `TacaConfig.from_adapter`."""
    name = weight_name or _WEIGHT_NAME
    path = Path(repo_or_path)
    if os.path.exists(path):
        metadata = _read_header(path / name if path.is_dir() else path)
    else:
        metadata = _fetch_header(str(repo_or_path), name, revision, token, local_files_only)
    try:
        return {field: float(metadata[key]) for field, key in _KEYS.items()}
    except (KeyError, TypeError, ValueError):
        raise TacaError(
            f"{repo_or_path} does not say which gamma and threshold it was trained with: pass them, such as "
            "TacaConfig(gamma=1.2, threshold=970.0, adapter=...) for the adapters of TACA's authors."
        ) from None


def _read_header(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = file.read(min(length, _LONGEST_HEADER))
        if len(header) < length:
            raise ValueError("The file ends before its header does.")
        return json.loads(header).get("__metadata__", {})
    except (OSError, struct.error, ValueError, AttributeError, RecursionError):
        raise TacaError(
            f"{path} is not a readable safetensors file: pass one, or the folder that holds it, with `weight_name` if "
            "it is called otherwise."
        ) from None


def _fetch_header(repo: str, name: str, revision: str | None, token: str | bool | None, local: bool) -> dict[str, str]:
    """By a request for the file's first bytes, or where none can be made from the cache, as weights are loaded."""
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, NotASafetensorsRepoError

    try:
        if not (local or constants.HF_HUB_OFFLINE):
            try:
                return HfApi(token=token).parse_safetensors_file_metadata(repo, name, revision=revision).metadata
            except HfHubHTTPError:
                raise
            except HTTPError:
                pass  # It did not answer. (The class is that of the library by which its client asks.)
        return _read_header(Path(hf_hub_download(repo, name, revision=revision, local_files_only=True)))
    except (HfHubHTTPError, HFValidationError, NotASafetensorsRepoError, OSError) as error:
        raise TacaError(
            f"{name} of {repo} cannot be read ({type(error).__name__}): pass a folder or a repository that has it, "
            "with `weight_name` if the file is called otherwise."
        ) from None
