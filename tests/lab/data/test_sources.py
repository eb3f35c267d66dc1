"""Sources of stage `sample` beyond the world: tables of addresses, tables of images, tar shards, people's folders."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lab.data.sample import Record
from lab.errors import LabError
from tests.lab.data.sampled import of_folder, taken
from tests.local_server import LocalServer

HERE = {"repo": None, "revision": None, "address": None}
BOUNDS = {"min_side": 8, "max_pixels": 10**6, "max_bytes": 10**6, "duplicate_distance": None}


def picture(number: int, side: int = 16) -> bytes:
    """A PNG unlike the others."""
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (side, side + number % 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


class Web(LocalServer):
    """Serves pictures by number; every third is gone."""

    def __init__(self):
        self.asked: list[str] = []
        self.listen()

    def answer(self, request):
        self.asked.append(request.path)
        number = int(request.path.strip("/"))
        content = picture(number)
        request.send_response(404 if number % 3 == 0 else 200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content)


@pytest.fixture
def web():
    server = Web()
    yield server
    server.close()


def urls(web, folder: Path, **changes) -> dict:
    folder.mkdir(exist_ok=True)
    rows = [{"URL": f"{web.url}/{number}", "TEXT": f"picture {number}", "WIDTH": 16} for number in range(60)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "table.parquet", row_group_size=10)
    columns = {"url": "URL", "caption": "TEXT", "width": "WIDTH", "height": None, "sha256": None}
    return {
        **{"source": "urls", "folder": str(folder), "files": "*.parquet", "size": 12, "columns": columns},
        **{"filters": {}, "max_aspect": None, "candidates": 3, "contact": "me@example.org", "honour_opt_outs": True},
        **{"loopback_port": web.http.server_port},
        **{**HERE, **BOUNDS, **changes},
    }


def test_images_of_a_table_are_the_same_twice_and_fetched_once(tmp_path, web):
    """The second run asks for nothing, though the server is gone; what was drawn, kept and refused is told."""
    settings, record = urls(web, tmp_path / "tables"), Record()
    rows = taken(tmp_path, record, **settings)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(rows) == 12
    assert all(int(row["source"].rsplit("/")[-1]) % 3 for row in rows)
    assert [row["caption"] for row in rows] == [f"picture {row['source'].rsplit('/')[-1]}" for row in rows]
    kept, refused, drawn = (pq.read_table(tmp_path / f"out/{name}.parquet") for name in ("kept", "refused", "drawn"))
    assert kept["url"].to_pylist() == [row["source"] for row in rows]
    assert set(refused["reason"].to_pylist()) == {"status"}
    assert len(drawn) == 36
    assert record.metrics["kept"] == 12
    assert list(record.provenance["files"]) == ["table.parquet"]
    web.close()
    assert taken(tmp_path, **settings) == rows
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    web.listen()


def test_the_table_of_kept_images_gives_the_same_set(tmp_path, web):
    rows = taken(tmp_path, **urls(web, tmp_path / "tables"))
    again = urls(web, tmp_path / "tables") | {"folder": str(tmp_path / "out"), "files": "kept.parquet", "candidates": 1}
    again["columns"] = {"url": "url", "caption": "caption", "width": None, "height": None, "sha256": "sha256"}
    elsewhere = tmp_path / "elsewhere"
    assert taken(elsewhere, **again) == rows
    table = pq.read_table(tmp_path / "out/kept.parquet")
    changed = table.set_column(3, "sha256", pa.array(["0" * 64, *table["sha256"].to_pylist()[1:]]))
    pq.write_table(changed, tmp_path / "out/kept.parquet")
    with pytest.raises(LabError, match=r"`sample.size` is 12, but of 12 candidates only 11 are good: changed \(1\)"):
        taken(tmp_path / "third", **again)


def test_too_few_good_images_say_how_many_and_why_and_what_was_fetched_stays(tmp_path, web):
    with pytest.raises(LabError, match=r"`sample.size` is 50, but of 60 candidates only 40 are good: status \(20\)\."):
        taken(tmp_path, **urls(web, tmp_path / "tables", size=50))
    asked = len(web.asked)
    assert len(taken(tmp_path, **urls(web, tmp_path / "tables", size=12))) == 12
    assert len(web.asked) == asked


def test_a_filter_that_leaves_nothing_is_told(tmp_path, web):
    with pytest.raises(LabError, match=r"`sample.size` is 12, but of the 60 rows of .* none pass \(by WIDTH\)"):
        taken(tmp_path, **urls(web, tmp_path / "tables", filters={"WIDTH": {"min": 5000}}))
    assert web.asked == []


def test_a_column_of_addresses_that_holds_none_is_refused(tmp_path, web):
    settings = urls(web, tmp_path / "tables")
    settings["columns"] = settings["columns"] | {"url": "WIDTH"}
    with pytest.raises(LabError, match=r"`sample.columns.url` is WIDTH, but that column holds int, not text"):
        taken(tmp_path, **settings)


def shards(folder: Path, side: int = 16) -> dict:
    folder.mkdir()
    for shard in range(3):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as file:
            for number in range(10 * shard, 10 * shard + 10):
                content = {
                    "png": picture(number, side),
                    "txt": b"alt",
                    "json": json.dumps({"said": f"{number}"}).encode(),
                }
                content["png"] = content["png"][:50] if number % 5 == 0 else content["png"]
                for ending, part in content.items():
                    about = tarfile.TarInfo(f"in/{number:04d}.{ending}")
                    about.size = len(part)
                    file.addfile(about, io.BytesIO(part))
    return {"source": "webdataset", "folder": str(folder), "files": "*.tar", "caption": "json:said", **HERE, **BOUNDS}


def test_tar_shards_give_images_with_their_words(tmp_path):
    """In a seeded order, without those that are broken."""
    settings = shards(tmp_path / "shards") | {"size": 20}
    rows = taken(tmp_path / "a", **settings)
    assert taken(tmp_path / "b", **settings) == rows != taken(tmp_path / "c", **{**settings, "seed": 5})
    assert all(int(row["caption"]) % 5 and f"#in/{int(row['caption']):04d}" in row["source"] for row in rows)
    refused = pq.read_table(tmp_path / "a/out/refused.parquet")
    assert set(refused["reason"].to_pylist()) == {"broken"}
    with pytest.raises(LabError, match=r"`sample.size` is 25, but of 30 images only 24 are good: broken \(6\)"):
        taken(tmp_path / "d", **settings | {"size": 25})
    with pytest.raises(LabError, match=r"`sample.caption` is 'json:x', but in/00\d0 of .*tar has no such words"):
        taken(tmp_path / "e", **settings | {"caption": "json:x"})


def tar(folder: Path, *files: tuple[str, bytes], **changes) -> dict:
    """The settings of a source that has one shard with these files."""
    folder.mkdir()
    with tarfile.open(folder / "0.tar", "w") as shard:
        for name, content in files:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            shard.addfile(about, io.BytesIO(content))
    return {"source": "webdataset", "folder": str(folder), "files": "*.tar", "size": 1, **HERE, **BOUNDS, **changes}


@pytest.mark.parametrize(
    ("key", "more", "words", "caption"),
    [
        ("deep.er/../a b/1", {}, b"\xef\xbb\xbfone\r\ntwo\r\n", "one\ntwo"),
        ("caf\udce9", {"mask.png": picture(9)}, b"one", "one"),
        ("1", {"big.bin": bytes(10**6 + 5)}, "caf\u00e9".encode(), "caf\u00e9"),
    ],
)
def test_a_sample_of_a_shard_may_be_called_anything(tmp_path, key, more, words, caption):
    """Of several images that with the shortest ending is taken; names in no UTF-8 are spelled out."""
    parts = {"mask.png": picture(9), "PNG": picture(1), "TXT": words} | more
    settings = tar(tmp_path / "shards", *((f"{key}.{end}", part) for end, part in parts.items()), caption="txt")
    (row,) = taken(tmp_path, **settings)
    assert row["caption"] == caption
    assert row["source"] == f"0.tar#{key}".replace("\udce9", "\\udce9")
    assert pq.read_table(tmp_path / "out/kept.parquet")["origin"].to_pylist() == [row["source"]]
    with Image.open(tmp_path / "out" / row["path"]) as image:
        assert np.array_equal(image, Image.open(io.BytesIO(picture(1))))


def test_what_systems_leave_beside_shards_tables_and_their_files_is_none(tmp_path):
    """macOS writes an `._a` beside each `a` where the disk has no place for more, and into archives; notebooks copy."""
    files = [("./._1.png", b"\0\5"), ("./1.png", picture(1)), ("./._1.txt", b"\0\5"), ("./1.txt", b"one\r")]
    settings = tar(tmp_path / "shards", *files, caption="txt")
    tables = image_tables(tmp_path / "tables") | {"size": 30}
    for folder, name in (("shards", "._0.tar"), ("tables", "._train.parquet"), ("tables", ".old/train.parquet")):
        (tmp_path / folder / name).parent.mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(b"\0\5\x16\7")
    assert [row["caption"] for row in taken(tmp_path / "a", **settings)] == ["one"]
    assert len(taken(tmp_path / "b", **tables)) == 30


@pytest.mark.parametrize(
    "words", ["caf\u00e9".encode("latin-1"), "one".encode("utf-16-le"), "赤い".encode("iso-2022-jp")]
)
def test_words_of_a_shard_in_another_encoding_are_refused(tmp_path, words):
    with pytest.raises(LabError, match=r"`sample.caption` is 'txt', but 1 of 0.tar has no such words in UTF-8"):
        taken(tmp_path, **tar(tmp_path / "shards", ("1.png", picture(1)), ("1.txt", words), caption="txt"))


@pytest.mark.parametrize("said", ['["a"]', '{"a": 1}', "true", "7", r'"half a fox \ud83e"', r'"a\u0000b"'])
def test_words_of_a_shard_that_are_no_text_are_refused(tmp_path, said):
    files = [("1.png", picture(1)), ("1.json", f'{{"said": {said}}}'.encode())]
    with pytest.raises(LabError, match=r"`sample.caption` is 'json:said', but 1 of 0.tar has no such words"):
        taken(tmp_path, **tar(tmp_path / "shards", *files, caption="json:said"))


def test_an_image_that_cannot_be_read_is_counted_in_shards_too(tmp_path):
    files = [("1.heic", b"\0\0\0\x18ftypheic"), ("1.txt", b"x"), ("2.JFIF", picture(1)), ("2.txt", b"y")]
    (row,) = taken(tmp_path, **tar(tmp_path / "shards", *files, caption="txt"))
    assert row["caption"] == "y"
    assert pq.read_table(tmp_path / "out/refused.parquet")["reason"].to_pylist() == ["not-an-image"]


def test_shards_and_tables_that_hold_nothing_are_told(tmp_path):
    with pytest.raises(LabError, match=r"`sample.size` is 1, but the shards of .* hold no file that ends in jpg, jpeg"):
        taken(tmp_path, **tar(tmp_path / "shards", ("1.cls", b"3"), caption="txt"))
    settings = image_tables(tmp_path / "tables") | {"size": 1, "filters": {"text": {"any_of": ["x"]}}}
    with pytest.raises(LabError, match=r"but of the 30 rows of .* none pass \(by text\): loosen `sample.filters`"):
        taken(tmp_path, **settings)


def test_a_file_whose_name_is_in_no_utf_8_is_taken_and_spelled_out(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("caf\udce9", "t\udce9"):
        (tmp_path / f"mine/{name}.txt").write_text("one")
        (tmp_path / f"mine/{name}.png").write_bytes(picture(1) if name[0] == "c" else b"")
    (row,) = of_folder(tmp_path, tmp_path / "mine", 1)
    assert row["source"] == "caf\\udce9.png"


def image_tables(folder: Path, side: int = 16) -> dict:
    folder.mkdir()
    rows = [{"image": {"bytes": picture(number, side), "path": None}, "text": f"{number}"} for number in range(30)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet", row_group_size=10)
    settings = {"source": "hub", "folder": str(folder), "files": "*.parquet", "filters": {}}
    return settings | {"columns": {"image": "image", "caption": "text"}, **HERE, **BOUNDS}


def test_tables_that_hold_images_are_a_source(tmp_path):
    settings = image_tables(tmp_path / "tables") | {"size": 14}
    found = taken(tmp_path / "a", **settings)
    assert taken(tmp_path / "b", **settings) == found
    assert len({row["caption"] for row in found}) == 14
    assert len(pq.read_table(tmp_path / "a/out/read.parquet")) == 2
    for row in found:
        with Image.open(tmp_path / "a/out" / row["path"]) as image:
            assert np.array_equal(image, Image.open(io.BytesIO(picture(int(row["caption"])))))


def test_an_unreadable_file_among_many_is_left_out_and_named(tmp_path):
    (tmp_path / "mine/sub").mkdir(parents=True)
    for number in range(9):
        (tmp_path / f"mine/sub/{number}.PNG").write_bytes(picture(number) if number != 4 else b"nothing")
        (tmp_path / f"mine/sub/{number}.txt").write_bytes(f"\ufeffpicture {number}, blue\r\n".encode())
    assert {row["caption"] for row in of_folder(tmp_path, tmp_path / "mine", 8)} == {
        f"picture {number}, blue" for number in range(9) if number != 4
    }
    left_out = pq.read_table(tmp_path / "out/left_out.parquet").to_pylist()
    assert [row["name"] for row in left_out] == ["sub/4.PNG"]
    assert "damaged" in left_out[0]["reason"]
    with pytest.raises(LabError, match=r"holds 9 images of which 8 are good \(sub/4\.PNG is damaged or cut short"):
        of_folder(tmp_path, tmp_path / "mine", 9)
