"""Captions and files of a user's folder: what stands in the table is taken, and names decide nothing."""

import io
import json
import subprocess
import sys
import unicodedata
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from compbench.errors import CompbenchError
from lab.data.folder import read_folder
from lab.errors import LabError
from tests.faults.fault import NOBODY

SPELLED = [
    "NA",
    "None",
    "null",
    "nan",
    "007",
    "1984",
    "true",
    "1e5",
    "1.0",
    "-0",
    "2024-01-01",
    " a cat ",
    "a, b",
    'a "b"',
]


@pytest.fixture
def mine(tmp_path):
    """A folder, and what makes an image in it."""

    class Mine:
        folder = tmp_path / "mine"

        def image(self, name="a.png"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(self.folder / name, format="PNG")

        def write(self, content, name="metadata.csv"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

        def read(self):
            return {one.name: one.caption for one in read_folder(self.folder, tmp_path / "unpacked").files}

        def refused(self, said):
            with pytest.raises((LabError, CompbenchError), match=said) as caught:
                self.read()
            assert "\n" not in str(caught.value)

    Mine().image()
    return Mine()


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize("caption", [*SPELLED, "two\nlines", "a\u2028b", "a\x85b", "cafe\u0301", "猫", "=1+1"])
def test_a_caption_in_csv_is_what_is_written(mine, caption):
    mine.write(f"file_name,text\na.png,{quoted(caption)}\n")
    assert mine.read() == {"a.png": caption}


@pytest.mark.parametrize("literal", ["007", "1984", "true", "null", "NA", "1e5", "Infinity"])
def test_a_caption_in_csv_without_quotes_too(mine, literal):
    mine.write(f"file_name,text\r\na.png,{literal}\r\n")
    assert mine.read() == {"a.png": literal}


@pytest.mark.parametrize(
    "literal", ["1984", "1e5", "1.50", "true", "false", '"null"', '"a\u2028b"', "12345678901234567890"]
)
def test_a_caption_in_json_is_what_is_written(mine, literal):
    mine.write(f'{{"file_name": "a.png", "text": {literal}}}\n', "metadata.jsonl")
    assert mine.read() == {"a.png": literal.strip('"')}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["007"]), "007"),
        (pa.array(["NA"]).dictionary_encode(), "NA"),
        (pa.array(["x"], pa.large_string()), "x"),
        (pa.array(["x"], pa.string_view()), "x"),
        (pa.array([1984]), "1984"),
        (pa.array([True]), "true"),
    ],
)
def test_a_caption_in_parquet_is_what_is_written(mine, column, expected):
    pq.write_table(pa.table({"file_name": ["a.png"], "text": column}), mine.folder / "metadata.parquet")
    assert mine.read() == {"a.png": expected}


@pytest.mark.parametrize("kind", [pa.float64(), pa.date32(), pa.list_(pa.string())])
def test_a_column_that_is_no_text_is_refused(mine, kind):
    pq.write_table(pa.table({"file_name": ["a.png"], "text": pa.array([None], kind)}), mine.folder / "metadata.parquet")
    mine.refused(r"column text of .*metadata\.parquet holds .*, not text")


@pytest.mark.parametrize(
    "blank", ["", " ", "\t", "\u3000", "\u00a0", "\u200b", "\ufeff", '"\n"', "\u3164", "\u2800", "\u034f", "\ufe0f"]
)
def test_a_blank_caption_is_refused_by_the_images_name(mine, blank):
    mine.write(f"file_name,text\na.png,{blank}\n")
    mine.refused(r"a\.png has no caption")


@pytest.mark.parametrize(
    "row", ['{"file_name": "a.png"}', '{"file_name": "a.png", "text": null}', '{"file_name": "a.png", "text": NaN}']
)
def test_a_missing_caption_is_refused_by_the_images_name(mine, row):
    mine.write(row, "metadata.jsonl")
    mine.refused(r"a\.png has no caption")


def test_a_row_that_ends_before_its_caption_and_a_null_of_parquet_are_refused(mine):
    mine.write("file_name,text\na.png\n")
    mine.refused(r"a\.png has no caption")
    (mine.folder / "metadata.csv").unlink()
    pq.write_table(
        pa.table({"file_name": ["a.png"], "text": pa.nulls(1, pa.string())}), mine.folder / "metadata.parquet"
    )
    mine.refused(r"a\.png has no caption")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "shift-jis", "iso-2022-jp", "gbk"])
def test_another_encoding_is_refused(mine, encoding):
    caption = "é" if encoding == "latin-1" else "赤い"
    mine.write(f"file_name,text\na.png,{caption}\n".encode(encoding))
    mine.refused(r"metadata\.csv is not in UTF-8 .*: save it in UTF-8")


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_table(mine, name):
    rows = {"metadata.csv": "file_name,text\na.png,é\n", "metadata.jsonl": '{"file_name": "a.png", "text": "é"}\n'}
    mine.write(rows[name].encode("utf-8-sig"), name)
    assert mine.read() == {"a.png": "é"}


def test_text_that_no_file_can_hold_is_refused(mine):
    for escape in (r"\ud800", r"\u0000"):
        mine.write(f'{{"file_name": "a.png", "text": "x{escape}"}}', "metadata.jsonl")
        mine.refused(r"caption of the image .*a\.png .* is no text")


def test_text_of_parquet_in_another_encoding_is_refused(mine):
    latin = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"caf\xe9")])
    pq.write_table(pa.table({"file_name": ["a.png"], "text": latin}), mine.folder / "metadata.parquet")
    mine.refused(r"metadata\.parquet has text that is not in UTF-8 .*: write it in UTF-8")


SPLITS = ["test_0.png", "val.png", "train-00000-of-00001.png", "test/x.png", "data/train/1.png"]
PATTERNS = ["a[1].png", "[2024]/x.png", "*.png", "a b.png", "猫.png", "__x__/1.png"]
SUFFIXES = ["A.PNG", "b.JPeG", "no suffix", ".hidden.png", "metadata.png"]


@pytest.mark.parametrize("name", [*SPLITS, *PATTERNS, *SUFFIXES])
def test_names_decide_nothing(mine, name):
    mine.image(name)
    mine.write("".join(json.dumps({"file_name": one, "text": one}) + "\n" for one in ("a.png", name)), "metadata.jsonl")
    assert mine.read() == {"a.png": "a.png", name: name}


@pytest.mark.parametrize("folder", ["test", "val", "[2024]", "a*", "x.zip"])
def test_the_folders_own_name_decides_nothing(mine, tmp_path, folder):
    mine.write("file_name,text\na.png,x\n")
    mine.folder.rename(tmp_path / folder)
    (found,) = read_folder(tmp_path / folder, tmp_path / "unpacked").files
    assert (found.name, found.caption) == ("a.png", "x")


@pytest.mark.parametrize(("table", "disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_however_its_accents_are_stored(mine, table, disk):
    name = unicodedata.normalize(disk, "é.png")
    mine.image(name)
    mine.write(f"file_name,text\na.png,a\n{unicodedata.normalize(table, 'é.png')},b\n")
    assert mine.read() == {"a.png": "a", name: "b"}


@pytest.mark.parametrize(("table", "disk"), [("sub\\b.png", "sub/b.png"), ("sub/b.png", "sub\\b.png")])
def test_a_name_is_found_however_its_folders_are_parted(mine, table, disk):
    """Windows has another sign between them."""
    mine.image(disk)
    mine.write(f"file_name,text\na.png,a\n{table},b\n")
    assert mine.read() == {"a.png": "a", disk: "b"}


def test_names_that_differ_in_their_accents_alone_have_each_its_own_caption(mine):
    """As when folders of two systems come together."""
    composed, apart = (unicodedata.normalize(form, "\u00e9") for form in ("NFC", "NFD"))
    for name in (composed, apart):
        mine.image(f"{name}.png")
    for beside in (False, True):
        if beside:
            (mine.folder / "metadata.csv").unlink()
            for name, text in (("a", "a"), (composed, "one"), (apart, "two")):
                mine.write(text, f"{name}.txt")
        else:
            mine.write(f"file_name,text\na.png,a\n{composed}.png,one\n{apart}.png,two\n")
        assert mine.read() == {"a.png": "a", f"{composed}.png": "one", f"{apart}.png": "two"}


def test_every_folder_may_have_a_table_of_its_own(mine):
    mine.image("train/x.png")
    mine.image("test/x.png")
    mine.write("file_name,text\na.png,1\ntrain/x.png,2\n")
    mine.write("file_name,text\nx.png,3\n", "test/METADATA.CSV")
    assert mine.read() == {"a.png": "1", "train/x.png": "2", "test/x.png": "3"}


def test_an_archive_is_unpacked(mine):
    mine.write("file_name,text\na.png,1\n")
    with zipfile.ZipFile(mine.folder / "more.zip", "w") as archive:
        archive.write(mine.folder / "a.png", "inside/b.png")
        archive.writestr("metadata.csv", "file_name,text\ninside/b.png,2\n")
    assert mine.read() == {"a.png": "1", "more.zip/inside/b.png": "2"}
    with zipfile.ZipFile(mine.folder / "empty.zip", "w"):
        pass
    assert mine.read() == {"a.png": "1", "more.zip/inside/b.png": "2"}
    with zipfile.ZipFile(mine.folder / "windows.zip", "w") as archive:
        for name, content in (("c.png", (mine.folder / "a.png").read_bytes()), ("c.txt", "3"), ("empty\\", b"")):
            archive.writestr(f"in\\{name}", content)
    assert mine.read()["windows.zip/in/c.png"] == "3"
    (mine.folder / "more.zip").write_bytes(b"PK")
    mine.refused(r"more\.zip cannot be unpacked")


def _flag_as_encrypted(archive: bytes) -> bytes:
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = archive.index(signature) + flags
        archive = archive[:at] + b"\1" + archive[at + 1 :]
    return archive


def test_an_archive_that_cannot_be_unpacked_is_refused(mine):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("a.txt", "one")
    mine.write(_flag_as_encrypted(held.getvalue()), "x.zip")
    mine.refused(r"x\.zip cannot be unpacked \(.*encrypted.*\): replace it")
    mine.write(held.getvalue()[:40], "x.zip")
    mine.refused(r"x\.zip cannot be unpacked")


def test_an_image_that_cannot_be_opened_is_named_with_its_text(mine, tmp_path):
    """A photograph of a kind that Pillow does not know, and a link that leads nowhere; no notes beside an image."""
    mine.write("one", "a.txt")
    mine.write("{}", "a.json")
    mine.write(b"\0\0\0\x18ftypheic", "b.heic")
    mine.write("two", "b.txt")
    mine.write("three", "c.txt")
    (mine.folder / "c.png").symlink_to("nowhere.png")
    found = read_folder(mine.folder, tmp_path / "unpacked")
    assert [one.name for one in found.files] == ["a.png", "c.png"]
    assert found.left_out == [("b.heic", "is no image that Pillow can read")]


@pytest.mark.parametrize("name", ["a.eps", "a.h5", "a.mpg", "A.grib", "A.WMF"])
def test_what_pillow_knows_by_name_and_does_not_decode_is_no_image(mine, tmp_path, name):
    """Features, a video or a drawing beside the photograph that was made with it."""
    mine.write("a cat", "a.txt")
    mine.write(b"something", name)
    found = read_folder(mine.folder, tmp_path / "unpacked")
    assert ([one.name for one in found.files], found.left_out) == (["a.png"], [])


def test_a_closed_folder_is_refused_and_one_that_systems_leave_is_not(mine, tmp_path):
    """As `lost+found` on a disk of its own, which nobody but root may read or move."""
    mine.write("a cat", "a.txt")
    for name in ("lost+found", "closed"):
        (mine.folder / name).mkdir(mode=0)
        code = f"import sys; from lab.data.folder import *; read_folder(Path({str(mine.folder)!r}), Path(sys.argv[1]))"
        found = subprocess.run(
            [*NOBODY, sys.executable, "-c", code, str(tmp_path / "unpacked")], capture_output=True, text=True
        )
        assert (found.returncode == 0) == (name == "lost+found"), found.stderr
    assert "closed cannot be read (Permission denied): open it, or move it away." in found.stderr


def test_what_is_no_image_and_what_is_hidden_needs_no_row(mine):
    mine.write("file_name,text\na.png,x\n")
    for name in (".DS_Store", "._a.png", "README.md", "Thumbs.db", ".cache/b.png", "a.txt"):
        mine.write(b"\0", name)
    assert mine.read() == {"a.png": "x"}


@pytest.mark.parametrize("name", ["b.png", "B.JPG", "sub/b.webp"])
def test_an_image_without_a_row_is_refused(mine, name):
    mine.write("file_name,text\na.png,x\n")
    mine.image(name)
    mine.refused(rf"{name} has no row")


def test_a_line_end_in_a_name_makes_no_line_of_its_own(mine):
    """`refused` sees that the sentence is in one line."""
    mine.image("b\nc.png")
    mine.write("file_name,text\na.png,x\n")
    mine.refused(r"b\\nc\.png has no row")
    mine.write('"file\r\nname",text\na.png,x\n')
    mine.refused(r"has the columns file\\r\\nname, text, but must have")


@pytest.mark.parametrize("file_name", ["b.png", "A.png", "sub/a.png", "."])
def test_a_row_without_an_image_is_refused(mine, file_name):
    mine.write(f"file_name,text\na.png,x\n{file_name},y\n")
    mine.refused(rf"metadata\.csv has a row for '{file_name}', which is no file there")


@pytest.mark.parametrize("file_name", ["../b.png", "/etc/b.png", "sub/../../b.png", ".."])
def test_a_row_may_not_lead_out_of_the_folder(mine, file_name):
    mine.write(f"file_name,text\na.png,x\n{file_name},y\n")
    mine.refused(r"which is outside of the table's folder")


def test_a_row_may_have_the_whole_path(mine):
    mine.image("sub/b.png")
    mine.write(f"file_name,text\n{mine.folder}/a.png,x\n{mine.folder}/./sub//b.png,y\n")
    assert mine.read() == {"a.png": "x", "sub/b.png": "y"}


def test_a_row_without_a_file_name_is_refused(mine):
    mine.write("file_name,text\na.png,x\n,y\n")
    mine.refused(r"metadata\.csv has a row without a file_name")


@pytest.mark.parametrize("again", ["a.png", "./a.png", "sub/../a.png"])
def test_an_image_with_two_rows_is_refused(mine, again):
    mine.write(f"file_name,text\na.png,x\n{again},x\n")
    mine.refused(r"a\.png has two rows")


def test_an_image_of_two_tables_is_refused(mine):
    mine.write("file_name,text\na.png,x\n")
    mine.write('{"file_name": "a.png", "text": "x"}', "metadata.jsonl")
    mine.refused(r"a\.png has two rows")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("file_name,text\na.png,a cat, and a dog\n", r"Line 2 of .*3 fields under 2 columns.*in quotes"),
        ('file_name,text\na.png,"a cat\n', r"of .*metadata\.csv is no row"),
        ('file_name,text\na.png,"cat" here\n', r"Line 2 of .* is no row"),
        ("file_name;text\na.png;x\n", r"has the columns file_name;text, but must have file_name and text"),
        ("file_name,text,text\na.png,x,y\n", r"each once"),
        ("name,text\na.png,x\n", r"must have file_name and text"),
        ("", r"must have file_name and text"),
    ],
)
def test_a_table_that_is_none_is_refused(mine, table, said):
    mine.write(table)
    mine.refused(said)


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "5",
        "{",
        '{"text": ' + "[" * 99999,
        '{"file_name": "a.png", "text": ["x"]}',
        '{"file_name": "a.png", "text": "x", "text": "y"}',
    ],
)
def test_a_line_that_is_no_row_is_refused(mine, line):
    mine.write(f"\n{line}\n", "metadata.jsonl")
    mine.refused(r"Line 2 of .*metadata\.jsonl is no row")


def test_a_damaged_parquet_table_is_refused(mine):
    mine.write(b"PAR1 not", "metadata.parquet")
    mine.refused(r"metadata\.parquet cannot be read")


def test_a_folder_without_a_table_is_refused(mine):
    mine.refused(r"`sample.folder` .* has no captions: put a metadata\.csv with the columns file_name and text in it")


def test_a_text_beside_each_image_is_its_caption(mine):
    """Lines, commas and other systems' line ends included; hidden files and what systems leave count for nothing."""
    mine.image("B.JPG")
    mine.image("sub/cafe\u0301.png")
    for name in ("__MACOSX/a.png", "@eaDir/a.png/thumb.png", "._a.png", ".thumbnails/a.png"):
        mine.image(name)
    mine.write(b"\xef\xbb\xbfa cat,\r\nand a dog\r\n", "a.txt")
    mine.write("two\n", "B.TXT")
    mine.write("three\rlines\r", "sub/caf\u00e9.caption")
    mine.write("of nothing", "README.txt")
    assert mine.read() == {"a.png": "a cat,\nand a dog", "B.JPG": "two", "sub/cafe\u0301.png": "three\nlines"}


def test_two_texts_of_one_name_are_refused(mine):
    mine.write("one", "a.txt")
    mine.write("two", "a.TXT")
    mine.refused(r"a\.TXT and .*a\.txt are texts of one name: keep one")


def test_of_two_images_with_one_text_the_first_is_taken_and_the_other_named(mine, tmp_path):
    mine.image("a.webp")
    mine.write("a cat", "a.txt")
    found = read_folder(mine.folder, tmp_path / "unpacked")
    assert [one.name for one in found.files] == ["a.png"]
    assert found.left_out == [("a.webp", "has the text file of a.png")]


def test_a_table_comes_before_a_text_and_an_image_with_neither_is_refused(mine):
    mine.image("b.png")
    mine.write("file_name,text\na.png,from the table\n")
    mine.write("beside", "a.txt")
    mine.refused(r"b\.png has no row in a metadata\.csv, and no text file of its name")
    mine.write("b beside", "b.txt")
    assert mine.read() == {"a.png": "from the table", "b.png": "b beside"}


def test_a_text_that_says_nothing_is_refused_by_the_images_name(mine):
    mine.write(" \n", "a.txt")
    mine.refused(r"a\.png has no caption in .*a\.txt")
