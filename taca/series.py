"""Notices that TACA never acts: a series of timesteps, such as one image's, that begins below the threshold."""

import logging
import math

import torch

_logger = logging.getLogger("taca")


class Series:
    """The timesteps of one application of TACA, as they come.

    Args:
        threshold: TACA acts at or above it.
    """

    def __init__(self, threshold: float):
        self.threshold = threshold
        self.last = -math.inf
        self.warned = False

    def note(self, timestep: torch.Tensor) -> None:
        """Takes the timesteps (B,) of a pass, 0..1000; warns once, at the first of a series that begins too late.

        A series begins where a timestep is above the last one. One equal to it belongs to the same step: the other
        branch of classifier-free guidance. Training draws its timesteps at random, so that nothing follows from them.
        """
        if torch.is_grad_enabled() or timestep.numel() == 0:
            return
        noisiest = timestep.max().item()
        begins, self.last = noisiest > self.last, noisiest
        if begins and noisiest < self.threshold and not self.warned:
            self.warned = True
            _logger.warning(
                "TACA does not act: the first timestep is %.1f, below the threshold of %.1f; lower `threshold`, or see "
                "`active_steps(pipe, num_inference_steps, height, width)`.",
                noisiest,
                self.threshold,
            )
