"""The 722 names of UniDet's classes as the benchmark compares them with a prompt's objects."""

import json
from pathlib import Path

from compbench.errors import CompbenchError

# Names that the benchmark writes otherwise than the rule below would; from 701 on they are Mapillary's.
_OVERRIDES = {
    11: "picture, frame",
    13: "street light",
    36: "whiteboard, blackboard",
    138: "bench",
    203: "trash bin, can",
    207: "towel, napkin",
    209: "barrel, bucket",
    224: "pot, pan",
    234: "shampoo, shower gel",
    282: "router, modem",
    320: "tape measure, ruler",
    701: "crosswalk",
    702: "bicyclist",
    703: "motorcyclist",
    704: "other rider",
    705: "crosswalk zebra",
    706: "banner",
    707: "bike rack",
    708: "catch basin",
    709: "cctv camera",
    710: "junction box",
    711: "mailbox",
    712: "manhole",
    713: "phone booth",
    714: "street light",
    715: "pole",
    716: "traffic sign frame",
    717: "utility pole",
    718: "traffic sign back",
    719: "boat",
    720: "caravan",
    721: "trailer",
}


def read_labels(path: Path) -> tuple[str, ...]:
    """The label of each class, from UniDet's published label space `learned_mAP+M.json`.

    Some classes share a label, and some labels are composite ("cattle, cow"); one ends in a space.

    Raises: CompbenchError when the file is missing, or holds no label space.
    """
    try:
        categories = json.loads(path.read_text(encoding="utf-8"))["categories"]
        names = {category["id"]: category["name"] for category in categories}
        return tuple(_OVERRIDES.get(index) or _label(names[index]) for index in range(len(names)))
    except FileNotFoundError:
        raise CompbenchError(
            f"UniDet's label space {path} is missing: fetch it with the weights, or name the folder that holds them."
        ) from None
    except (ValueError, LookupError, TypeError):
        raise CompbenchError(
            f"{path} is not UniDet's label space, which has `categories` with `id` and `name` like "
            '"Car_car_car": fetch it again with the weights.'
        ) from None


def _label(name: str) -> str:
    """From "OpenImages_Objects365_COCO": COCO's name counts only where it stands alone."""
    open_images, objects365, coco = name.lower().split("_")
    return ", ".join(dict.fromkeys(part for part in (open_images, objects365) if part)) or coco
