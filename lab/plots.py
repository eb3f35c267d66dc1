"""What the experiment's pictures share: colours, style and typeface; the same numbers give the same bytes."""

from functools import cache
from pathlib import Path

from matplotlib import get_data_path
from matplotlib.figure import Figure
from PIL import ImageFont

# Okabe and Ito's palette, which colour-blind readers can tell apart; the baseline is grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#777777"
# On top of matplotlib's defaults, so that no matplotlibrc of the user's changes a report.
STYLE = [
    "default",
    {
        "svg.hashsalt": "taca",
        "svg.fonttype": "path",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e6e6e6",
        "legend.frameon": False,
    },
]


def save_svg(figure: Figure, path: Path) -> None:
    """Writes a figure; a date would make two equal ones differ."""
    figure.savefig(path, format="svg", metadata={"Date": None})


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that matplotlib brings: the same on every machine."""
    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
