"""What machines exchange through the DVC remote: a stage's outputs, and the run-cache entry by which they are found.

`dvc push --run-cache` and `dvc repro --pull` copy every entry there is; a large sweep would copy millions.
These copy those of the stages that they are asked for.
"""

from collections.abc import Iterable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from runtime.errors import StageError


def push(folder: Path, stages: Iterable[str]) -> None:
    """Sends what these stages of the workspace made, so that no machine has to run them on the same inputs again.

    Raises:
        StageError: the remote refuses.
    """
    with _repository(folder) as repository:
        for name in stages:
            (stage,) = repository.stage.collect(name)
            entries = list(_entries(repository, stage))
            for _, objects in [*stage.get_used_objs().items(), *_used(repository, entries)]:
                _whole(repository.cloud.push(objects), f"what {name} made")
            # Last, so that an entry never points to what is not there yet.
            remote = _remote(repository)
            for entry in entries:
                source = repository.cache.legacy.fs.join(repository.stage_cache.cache_dir, *entry)
                remote.fs.put_file(source, remote.fs.join(remote.path, "runs", *entry))


def restore(folder: Path, name: str) -> bool:
    """Brings what another machine made of the stage on the inputs that the workspace has; whether there was any."""
    from dvc.stage.cache import RunCacheNotFoundError, _can_hash, _get_stage_hash

    with _repository(folder) as repository, repository.lock:
        (stage,) = repository.stage.collect(name)
        if not all(dep.exists for dep in stage.deps):
            return False
        stage.save_deps()
        if not _can_hash(stage):
            return False
        key = _get_stage_hash(stage)
        remote, local = _remote(repository), repository.stage_cache.cache_dir
        for place in remote.fs.find(remote.fs.join(remote.path, "runs", key[:2], key)):
            target = Path(local, key[:2], key, remote.fs.name(place))
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                remote.fs.get_file(place, str(target))
        try:
            repository.stage_cache.restore(stage, pull=True)
        except RunCacheNotFoundError:
            return False
    return True


def fetch_file(root: Path, md5: str) -> None:
    """Brings one file into the cache, by its DVC hash.

    Raises:
        StageError: the remote does not have it.
    """
    from dvc_data.hashfile.hash_info import HashInfo

    with _repository(root) as repository:
        _whole(repository.cloud.pull([HashInfo("md5", md5)]), f"the file {md5}")


@contextmanager
def _repository(folder: Path) -> Iterator:
    from dvc.repo import Repo

    # DVC finds stages by the working directory, which is the whole process's: one workspace at a time.
    with chdir(folder), Repo(str(folder)) as repository:
        yield repository


def _remote(repository):
    return repository.cloud.get_remote_odb(None, "run-cache", hash_name="md5-dos2unix")


def _entries(repository, stage) -> Iterator[tuple[str, str, str]]:
    """Places below `runs` of the run-cache entries of a stage as `dvc.lock` has it."""
    from dvc.stage.cache import _can_hash, _get_stage_hash

    if not _can_hash(stage):
        return
    key = _get_stage_hash(stage)
    for path in Path(repository.stage_cache.cache_dir, key[:2], key).glob("*"):
        yield key[:2], key, path.name


def _used(repository, entries: Iterable[tuple[str, str, str]]) -> list:
    """Objects of the entries' outputs: also of those that git keeps, which `dvc push` would leave out."""
    return list(repository.stage_cache.get_used_objs([(key, value) for _, key, value in entries]).items())


def _whole(result, what: str) -> None:
    if result.failed:
        raise StageError(f"The DVC remote did not take or give {what}: see `make doctor`.")
