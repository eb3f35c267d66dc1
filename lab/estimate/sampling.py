"""What stage `sample` takes where images are fetched."""

from lab.params.sections import Looked, Sample

PNG = 1.5  # bytes a pixel, as `stages.sample` writes: photographs of the web take 0.7 to 1.9
JPEG = 0.3  # bytes a pixel, as they come
LARGER = 2.0  # pixels of an image by those of the least square asked for: assumed
REFUSED = 1.5  # fetched by kept: those that are broken, too small or duplicates come whole too
# Images of two megapixels a second on one processor, measured on two cores of a server: decoded, compared, written.
RATE = 4.0
MEGAPIXELS = 2.1


def pixels(sample: Looked) -> float:
    """Of all images together."""
    return sample.size * LARGER * sample.min_side**2


def fetched(sample: Sample) -> int:
    """Bytes that come from others and stay in the store; 0 where nothing is fetched."""
    return round(pixels(sample) * JPEG * REFUSED) if is_fetched(sample) else 0


def is_fetched(sample: Sample) -> bool:
    """Whether images come from elsewhere: of a table of addresses, wherever it lies itself."""
    return isinstance(sample, Looked) and (sample.source == "urls" or bool(sample.repo or sample.address))


def seconds(sample: Looked) -> float:
    """On one processor, where servers are not slower."""
    return pixels(sample) / 1e6 / MEGAPIXELS / RATE
