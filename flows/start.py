"""What every flow's command does before the flow: looks whether it can run here, and has a Prefect server for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.housekeeping import refuse_second
from flows.server import prefect_server
from taca.tracking import check_answers, tracking_uri


@contextmanager
def ready(root: Path) -> Iterator[None]:
    """A flow can run in this workspace inside.

    Raises:
        StageError: another flow runs in it, or MLflow or Prefect does not answer or refuses the password.
    """
    refuse_second(root)
    check_answers(tracking_uri(root))
    with prefect_server(root):
        yield
