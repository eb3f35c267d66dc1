"""Stage `base`: trains the built-in base pipeline from nothing but params."""

import sys

from lab.errors import LabError
from lab.params import load
from runtime.execution import stage


def main() -> None:
    with stage("base", sys.argv[1:], load, (LabError,)) as run:
        base(run)


def base(run) -> None:
    """Writes the pipeline's folder."""
    import torch

    from lab.models.builtin.config import BuiltinConfig
    from lab.models.builtin.pipeline import train_builtin
    from lab.models.builtin.save import save_builtin

    torch.set_num_threads(run.params.threads)
    settings = run.params.base.model_dump(exclude={"name", "source"})
    config = BuiltinConfig(**settings)
    trained = train_builtin(config, run.work, run.log_metrics)
    save_builtin(trained, config, run.fresh(f"models/base/{run.params.base.name}"))


if __name__ == "__main__":
    main()
