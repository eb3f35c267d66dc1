"""Tables in a bucket: the same draw as from this machine, nothing read twice, and one sentence for what fails."""

import os

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lab.data.tabular.draw import Draw
from lab.data.tabular.files import find_files
from lab.data.tabular.filters import Passing
from lab.errors import LabError
from tests.lab.data.test_draw import SIDES, write_tables

KEYS = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def server():
    listening = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    listening.start()
    yield "http://{}:{}".format(*listening.get_host_and_port())
    listening.stop()


@pytest.fixture
def bucket(server, tmp_path, monkeypatch):
    """`s3://tables/some`, and the same files in a folder."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": server, "AWS_CONFIG_FILE": "/dev/null"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    write_tables(tmp_path / "tables", 5, 200)
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="tables")
    for path in (tmp_path / "tables").iterdir():
        client.upload_file(str(path), "tables", f"some/{path.name}")
    client.put_object(Bucket="tables", Key="some/readme.txt", Body=b"no table")
    return client


def draw_of(tmp_path, address: str | None, pattern: str = "*.parquet") -> Draw:
    folder = str(tmp_path / "tables") if address is None else "lab/hosted"
    files = find_files(folder, None, None, address, pattern, tmp_path / "store")
    return Draw(files, ["URL", "TEXT"], Passing(SIDES), 0)


def drawn(draw: Draw) -> list[tuple]:
    return [(row["URL"], row["file"], row["row"]) for row in draw.rows(120)]


@pytest.mark.long
def test_a_draw_from_a_bucket_is_that_from_local_files(bucket, tmp_path):
    """With digests of what was read."""
    draw = draw_of(tmp_path, "s3://tables/some")
    assert drawn(draw) == drawn(draw_of(tmp_path, None))
    assert {visit["digest"].partition(":")[0] for visit in draw.visits} == {"etag"}
    assert draw.files.said == {"address": "s3://tables/some", "licence": None}


def test_what_was_read_of_a_bucket_is_not_asked_for_again(bucket, tmp_path):
    """Though the objects go once they are listed."""
    draw = draw_of(tmp_path, "s3://tables/some")
    first, again = drawn(draw), draw_of(tmp_path, "s3://tables/some")
    for name in {visit["file"] for visit in draw.visits}:
        bucket.delete_object(Bucket="tables", Key=f"some/{name}")
    assert drawn(again) == first


def test_a_bucket_that_is_not_there_is_told(bucket, tmp_path):
    with pytest.raises(
        LabError, match=r"`sample.address` is 's3://none/x', but that cannot be read \(.*bucket.*\): cor"
    ):
        draw_of(tmp_path, "s3://none/x")


def test_a_folder_of_a_bucket_without_such_files_is_told(bucket, tmp_path):
    with pytest.raises(LabError, match=r"`sample.files` is '\*.tar', but s3://tables/some has no file of such a path"):
        draw_of(tmp_path, "s3://tables/some", "*.tar")


def test_without_keys_it_is_said_where_they_go(bucket, tmp_path, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(LabError, match=r"cannot be read \(Unable to locate credentials\): correct it, or set the keys"):
        draw_of(tmp_path, "s3://tables/some")


@pytest.mark.long
def test_a_bucket_that_nobody_serves_is_a_network_fault(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ConnectionError, match=r"s3://tables/some cannot be reached .*: see that it can be reached"):
        draw_of(tmp_path, "s3://tables/some")
