"""This machine's side of cells that run on others: what they need is sent, what they leave is fetched."""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from flows.machines import exchange
from flows.machines.remote_cell import specification
from flows.sweeps import experiments
from flows.sweeps.cells import Cell
from flows.sweeps.report import in_cache, score_files
from flows.sweeps.run_cell import Source
from lab.params import Params
from runtime.execution.graph import Stage, read_recorded, stages_of
from runtime.params import read_yaml
from runtime.tracking import tracking_uri
from runtime.tracking.place import shown

# Of a DVC remote; passwords and keys come from each machine's own environment, not through a cluster's records.
SETTINGS = ("url", "endpointurl", "region", "profile", "use_ssl", "ssl_verify", "account_name", "projectname", "user")


class Elsewhere:
    """What the runners of other machines' cells have in common."""

    def __init__(self, root: Path, sweep: str, source: Source, params: Params):
        self.stop = threading.Event()
        self.commit = source.commit
        self.params = params
        self._root, self._sweep, self._source = root, sweep, source
        self.repository = repository(root, params)
        experiments.fetch_unknown(root, self.repository, source.commit)

    def restore(self, stage: str) -> None:
        """Brings what another machine made of a stage that cells build on."""
        exchange.restore(self._root, stage)

    def send(self, cells: Iterable[Cell]) -> None:
        """Sends what cells build on to the DVC remote."""
        recorded = read_recorded(self._root)
        exchange.push(self._root, sorted({stage for cell in cells for stage in cell.shared if stage in recorded}))

    def specification(self, cell: Cell, parent: str) -> dict:
        """What the machine that runs the cell has to know."""
        return specification(
            cell,
            sweep=self._sweep,
            parent=parent,
            source=self._source,
            repository=self.repository,
            lock=(self._root / "dvc.lock").read_text(),
            remote=remote_settings(self._root),
            tracking=shown(tracking_uri(self._root)),
        )

    def stages(self, cell: Cell) -> list[Stage]:
        """The stages that are the cell's own."""
        known = stages_of(read_yaml(self._root / "dvc.yaml"), cell.params)
        return [known[name] for name in cell.stages]

    def fetch(self, cell: Cell) -> None:
        """Fetches the experiment of a cell that another machine has finished."""
        experiments.fetch(self._root, self.repository, self.commit, f"{self._sweep}-{cell.name}")

    def fetch_scores(self, cell: Cell, commit: str) -> None:
        """Brings the scores of an experiment and their manifest into DVC's cache."""
        for md5 in score_files(self._root, cell, commit):
            if not in_cache(self._root, md5).exists():
                exchange.fetch_file(self._root, md5)


def waves(cells: Iterable[Cell], stages: Callable[[Cell], list[Stage]]) -> Iterator[list[Cell]]:
    """Cells that may run at once on machines that do not see each other: first one of each that train alike.

    The others find that adapter in the run-cache, where at the same time each would train its own.
    """
    first, then, seen = [], [], set()
    for cell in cells:
        trained = next((f"{stage.cmd} {sorted(stage.params.items())}" for stage in stages(cell)), None)
        (then if trained in seen else first).append(cell)
        seen |= {trained} - {None}
    yield from (wave for wave in (first, then) if wave)


def repository(root: Path, params: Params) -> str:
    """Where workers get commits and leave experiments: as `flows.repository` says, `origin`, or this very folder."""
    return params.flows.repository or experiments.origin(root) or str(root.resolve())


def remote_settings(root: Path) -> dict[str, object]:
    """The settings of the default DVC remote that other machines are told; empty without one."""
    from dvc.config import Config

    config = Config(str(root / ".dvc")).read()
    name = config["core"].get("remote")
    return {key: value for key, value in config["remote"].get(name, {}).items() if key in SETTINGS}
