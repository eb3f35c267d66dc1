"""Stage `prompts`: the prompts of every category with their parse."""

import sys

from taca.execution import stage

OUTPUT = "data/prompts.parquet"


def main() -> None:
    with stage("prompts", sys.argv[1:]) as run:
        prompts(run)


def prompts(run) -> None:
    """Writes one row a prompt."""
    from taca.data.parsing import RULES, SPACY
    from taca.data.prompts import SCHEMA, load_prompts
    from taca.data.tables import write_table

    settings = run.params.prompts
    if settings.folder is not None:
        run.log_input("prompts.folder", settings.folder)
    rows = load_prompts(
        settings.source,
        settings.folder,
        settings.split,
        settings.per_category,
        settings.seed,
        parser=settings.parser,
    )
    if settings.parser not in (RULES, SPACY):
        run.log_input("prompts.parser", settings.parser)
    write_table(run.fresh(OUTPUT), rows, SCHEMA)
    run.log_metrics({"prompts": len(rows)})


if __name__ == "__main__":
    main()
