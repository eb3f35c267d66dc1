"""Settings of this machine: `machine.yaml` at the repository's root, which git ignores, and `TACA_...` variables.

They say how flows run the stages. No stage's outputs depend on them and no stage reads them; what a stage has to know,
such as the price of its GPU, a flow hands it in its environment.
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from runtime.params import Name, Positive, Section, one_of, read_yaml, validate

FILE = "machine.yaml"
PREFIX = "TACA_"  # of variables: TACA_WORKERS, TACA_GPUS, ...; they win over the file

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False, description="a finite number of at least 0")]


def _listed(value: object) -> object:
    """Lists as variables write them, `0,1`; and numbers of GPUs are names."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in _listed(visible) if name != "-1"]
    with suppress(FileNotFoundError, subprocess.SubprocessError):
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.split()
    return []


class Machine(Section, strict=False):
    """What flows know of the machine that they run on; every key has a default.

    Attributes:
        workers: threads of stages without a GPU at once. Two a core, since those of a stage wait for each other often.
        gpus: their names for CUDA_VISIBLE_DEVICES; each is lent to one stage at a time.
        gpu_stages: the stages that ask for one.
        retries: of what can pass by itself (network, locks); Prefect takes 50 at most.
        retry_seconds: before the first of them; each further wait is twice as long.
        gpu_hour_price: in your currency, for the costs that runs log.
        runner: where cells of a sweep run.
        cell_gpus: of a cell that runs elsewhere.
        repository: where other machines get commits; by default `origin`.
    """

    workers: Positive = Field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    gpus: Annotated[
        list[str], BeforeValidator(_listed), Field(description="a list of GPUs, as CUDA_VISIBLE_DEVICES names them")
    ] = Field(default_factory=_gpus)
    gpu_stages: Annotated[
        list[Name], BeforeValidator(_listed), Field(description="a list of stages without keys, such as train")
    ] = Field(default=["base", "caption", "encode", "train", "generate", "score"])
    retries: Annotated[int, Field(ge=0, le=50, description="an integer from 0 to 50")] = 3
    retry_seconds: Amount = 5.0
    gpu_hour_price: Amount = 0.0
    runner: one_of("local", "ray", "kubernetes") = "local"
    ray_address: Annotated[str | None, Field(description="auto, or HOST:PORT of a Ray cluster")] = None
    work_pool: Annotated[str | None, Field(description="the name of a Prefect work pool")] = None
    cell_gpus: Amount = 0.0
    repository: Annotated[str | None, Field(description="a git URL that the workers can reach")] = None


def machine(root: Path) -> Machine:
    """The settings of this machine for flows in the repository at `root`.

    Raises:
        ParamsError: one sentence for each value that is unknown or out of range.
    """
    path = root / FILE
    document = read_yaml(path) if path.exists() else {}
    validate(document, Machine, FILE)
    variables = {key: f"{PREFIX}{key.upper()}" for key in Machine.model_fields}
    given = {key: os.environ[name] for key, name in variables.items() if name in os.environ}
    where = f"{FILE} with {', '.join(variables[key] for key in given)}" if given else FILE
    return validate({**document, **given}, Machine, where, _runner_faults)


def _runner_faults(settings: Machine) -> list[str]:
    needed = {"ray": ("ray_address", "auto or HOST:PORT"), "kubernetes": ("work_pool", "a work pool")}
    key, meant = needed.get(settings.runner, ("runner", ""))
    if getattr(settings, key) is not None:
        return []
    return [f"`{key}` is null, but must be {meant}, since `runner` is {settings.runner}."]
