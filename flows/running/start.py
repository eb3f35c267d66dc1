"""What every flow's command does before the flow: looks whether it can run here, and has a Prefect server for it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.running.housekeeping import only_flow
from flows.services.server import prefect_server
from runtime.tracking import check_answers, tracking_uri


@contextmanager
def ready(root: Path) -> Iterator[None]:
    """A flow can run in this workspace inside.

    Raises:
        StageError: another flow runs in it, or MLflow or Prefect does not answer or refuses the password.
    """
    with only_flow(root):
        check_answers(tracking_uri(root))  # the flow itself asks again; but a server takes seconds to start
    with prefect_server(root):
        # Collecting garbage while Prefect is imported, when there is none, takes a quarter of the time.
        gc.disable()
        import prefect  # noqa: F401 - it finds its server when it is imported

        gc.freeze()
        gc.enable()
        yield
