"""Pictures that nobody here made: those that packages ship, by the names of their files, from a server and a folder."""

from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web as http
from PIL import Image
from web import Web

from lab.data.sample import Record
from tests.lab.data.sampled import taken
from tests.lab.data.test_sources import HERE

# Photographs, plots, screenshots and logos; toolbar icons in four formats, of which two are no images to learn from.
FOLDERS = {
    "sklearn": "datasets/images",
    "matplotlib": "mpl-data",
    "mlflow": "server/js/build/static/media",
    "networkx": "drawing/tests/baseline",
    "sympy": "plotting/tests",
    "apprise": "assets/themes/default",
}
KINDS = (".jpg", ".png", ".gif", ".svg", ".pdf", ".ico", ".webp")
DEBIAN = Path("/usr/share/icons/Adwaita/512x512")
PHOTOGRAPHS = {"flower": (640, 427), "china": (640, 427), "grace hopper": (512, 600)}


def shipped() -> dict[str, Path]:
    """Files by what their names say, of packages that the lock has."""
    found = {}
    for package, folder in FOLDERS.items():
        place = Path(find_spec(package).origin).parent / folder
        for path in sorted(path for path in place.rglob("*") if path.suffix in KINDS):
            found.setdefault(said(path) if path.suffix == ".jpg" else f"{said(path)} {path.suffix[1:]}", path)
    return found


def said(path: Path) -> str:
    """The words of a file's name."""
    return path.stem.split(".")[0].replace("-", " ").replace("_", " ").removeprefix("test ")


@pytest.fixture(scope="module")
def served():
    """The files from a server, with a table of their addresses and names."""
    files = list(shipped().items())

    async def answer(_request, number):
        return http.FileResponse(files[number][1])

    with Web() as server:
        server.answers = {"shipped": answer}
        yield (
            server,
            [{"url": f"{server.url}/shipped/{number}", "words": name} for number, (name, _) in enumerate(files)],
        )


def settings(served, folder: Path, size: int, **changes) -> dict:
    server, rows = served
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "shipped.parquet")
    columns = {"url": "url", "caption": "words", "width": None, "height": None, "sha256": None}
    bounds = {"min_side": 200, "max_pixels": 10**7, "max_bytes": 10**7, "duplicate_distance": 4}
    manners = {"contact": "tests@example.com", "honour_opt_outs": True, "loopback_port": server.port}
    rest = {"files": "*.parquet", "filters": {}, "max_aspect": None, "candidates": 100, "size": size}
    return {"source": "urls", "folder": str(folder), "columns": columns, **HERE, **bounds, **manners, **rest, **changes}


@pytest.mark.long
def test_photographs_and_plots_are_kept_and_vectors_and_icons_refused(served, tmp_path):
    """Each file that is large enough is as Pillow shows it; the others have the reason that a look at them gives."""
    record, pictures = Record(), shipped()
    rows = taken(tmp_path, record, **settings(served, tmp_path / "table", 15))
    assert len(rows) == 15
    for row in rows:
        with Image.open(pictures[row["caption"]]) as shipped_one, Image.open(tmp_path / "out" / row["path"]) as ours:
            white = Image.new("RGBA", shipped_one.size, "white")
            assert ours.size == shipped_one.size
            expected = Image.alpha_composite(white, shipped_one.convert("RGBA")).convert("RGB")
            assert ours.tobytes() == expected.tobytes()
    refused = {row["url"]: row for row in pq.read_table(tmp_path / "out/refused.parquet").to_pylist()}
    names = {row["url"]: row["words"] for row in served[1]}
    reasons = {names[url].rsplit(" ", 1)[-1]: row["reason"] for url, row in refused.items() if row["reason"] != "small"}
    assert {reasons.get("svg"), reasons.get("pdf")} == {"not-an-image"}
    for url, row in refused.items():
        if row["reason"] == "small":
            with Image.open(pictures[names[url]]) as image:
                assert min(image.size) < 200
    assert record.metrics["kept"] == 15


def test_the_photographs_are_found_by_their_names(served, tmp_path):
    named = {"words": {"any_of": list(PHOTOGRAPHS)}}
    rows = taken(tmp_path, **settings(served, tmp_path / "table", 3, filters=named))
    assert {row["caption"]: (row["width"], row["height"]) for row in rows} == PHOTOGRAPHS


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package adwaita-icon-theme is not installed")
def test_clip_art_of_debian_as_a_folder_with_its_names(tmp_path):
    """As kohya's tools want it: nested folders, a text beside each image."""
    for path in DEBIAN.rglob("*.png"):
        copy = tmp_path / "mine" / path.relative_to(DEBIAN)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        copy.with_suffix(".txt").write_text(f"an icon of {said(path)}\n")
    rows = taken(tmp_path, source="folder", folder=str(tmp_path / "mine"), size=8)
    assert all(row["caption"] == f"an icon of {said(Path(row['source']))}" for row in rows)
    assert {(row["width"], row["height"]) for row in rows} == {(512, 512)}
    with Image.open(tmp_path / "out" / rows[0]["path"]) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))
