"""Stage `prompts`: the prompts of every category with their parse."""

import sys

from compbench.errors import CompbenchError
from lab.errors import LabError
from lab.params import load
from runtime.execution import stage

OUTPUT = "data/prompts.parquet"


def main() -> None:
    with stage("prompts", sys.argv[1:], load, (CompbenchError, LabError)) as run:
        prompts(run)


def prompts(run) -> None:
    """Writes one row a prompt."""
    from compbench.parsing import RULES, SHIPPED, SPACY
    from compbench.prompts import SCHEMA
    from compbench.tables import write_table
    from lab.prompts import prompts_of

    settings = run.params.prompts
    if settings.folder is not None:
        run.log_input("prompts.folder", settings.folder)
    rows = prompts_of(settings)
    if settings.parser not in (RULES, SHIPPED, SPACY):
        run.log_input("prompts.parser", settings.parser)
    write_table(run.fresh(OUTPUT), rows, SCHEMA)
    run.log_metrics({"prompts": len(rows)})


if __name__ == "__main__":
    main()
