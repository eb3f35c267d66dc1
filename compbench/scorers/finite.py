"""Stops on numbers that are none: in half precision ResNeSt's features can overflow, and would score 0 unseen."""

import torch


class NotFiniteError(ArithmeticError):
    """`what` of the image at `position` in its batch is NaN or infinite."""

    def __init__(self, what: str, position: int):
        super().__init__(f"{what} of image {position}")
        self.what, self.position = what, position


def check_finite(what: str, values: torch.Tensor) -> None:
    """Raises: NotFiniteError for the first image, along the first dimension, with a value that is NaN or infinite."""
    finite = values.isfinite().flatten(1).all(1)
    if not finite.all():
        raise NotFiniteError(what, int(finite.logical_not().nonzero()[0]))
