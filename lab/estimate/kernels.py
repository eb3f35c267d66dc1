"""What a GPU does otherwise than the meta device: fused attention and normalisation, and autocast's number formats."""

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

# Of what autocast casts (ATen/autocast_mode.h), the functions that the two families and peft call.
LOWERED = frozenset({F.linear, F.conv2d, torch.matmul, torch.bmm, torch.baddbmm, torch.addmm})
# On a GPU alone: autocast on a CPU leaves these in the format that they get.
RAISED = frozenset({F.layer_norm, F.rms_norm, F.group_norm})
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class Kernels(TorchFunctionMode):
    """Has the meta device make the tensors that another device makes.

    Attention is that of the meta kernel of a fused one, which writes no matrix of all tokens by all tokens.

    Args:
        autocast: the number format to which matrix products and attention bring their arguments; None: none.
        device: "cuda", or "cpu", which has no fused RMSNorm.
    """

    def __init__(self, autocast: torch.dtype | None = None, device: str = "cuda"):
        super().__init__()
        self.autocast, self.gpu = autocast, device == "cuda"

    def __torch_function__(self, function, types, args=(), kwargs=None):
        args, kwargs = self._cast(function, args, kwargs or {})
        if function is F.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        if function is F.rms_norm and self.gpu:
            return _RmsNorm.apply(*args, **kwargs)
        return function(*args, **kwargs)

    def backward(self, loss: torch.Tensor) -> None:
        """`loss.backward()`, which would leave the mode meanwhile, and blocks are computed again in it."""
        torch.autograd.graph._engine_run_backward(
            (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
        )

    def _cast(self, function, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        if self.autocast is None:
            return args, kwargs
        if function in LOWERED or function is F.scaled_dot_product_attention:
            return _in(self.autocast, (args, kwargs))
        if function in RAISED and self.gpu:
            return _in(torch.float32, (args, kwargs))
        return args, kwargs


def _in(dtype: torch.dtype, arguments):
    def cast(value):
        return value.to(dtype) if isinstance(value, torch.Tensor) and value.dtype in FLOATS else value

    return tree_map(cast, arguments)


def _attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_) -> torch.Tensor:
    # That of processors: it takes every width of head, and a mask. Output and statistics are as large as on a GPU.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return attention(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]


class _RmsNorm(torch.autograd.Function):
    """As CUDA's kernel: it keeps its input and a number for each row, and not the float32 copies of all steps."""

    @staticmethod
    def forward(ctx, hidden_states, normalized_shape, weight=None, eps=None):
        rows = hidden_states.shape[: -len(normalized_shape)]
        ctx.save_for_backward(hidden_states, weight, hidden_states.new_empty(rows, dtype=torch.float32))
        return torch.empty_like(hidden_states)

    @staticmethod
    def backward(ctx, gradient):
        hidden_states, weight, _ = ctx.saved_tensors
        of_weight = torch.empty_like(weight) if ctx.needs_input_grad[2] else None
        return torch.empty_like(hidden_states), None, of_weight, None
