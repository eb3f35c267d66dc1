"""Attention processors with TACA, one for each stock processor of diffusers that they replace.

Each is called as its stock processor is and computes the same, but for `taca.attention.taca_attention` in the place of
one joint attention call. They hold their gamma and never change: `taca.hooks` puts them in place for the forward passes
that TACA acts on, and the stock processors run all others.
"""

from taca.processors.cogvideox import TacaCogVideoXAttnProcessor
from taca.processors.flux import TacaFlux2AttnProcessor, TacaFlux2ParallelSelfAttnProcessor, TacaFluxAttnProcessor
from taca.processors.hunyuan_video import TacaHunyuanVideoAttnProcessor
from taca.processors.qwenimage import TacaQwenDoubleStreamAttnProcessor
from taca.processors.sd3 import TacaJointAttnProcessor

__all__ = [
    "TacaCogVideoXAttnProcessor",
    "TacaFlux2AttnProcessor",
    "TacaFlux2ParallelSelfAttnProcessor",
    "TacaFluxAttnProcessor",
    "TacaHunyuanVideoAttnProcessor",
    "TacaJointAttnProcessor",
    "TacaQwenDoubleStreamAttnProcessor",
]
