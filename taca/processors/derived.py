"""Replacement processors that are made from the stock ones.

A stock processor projects, normalises and rotates in its family's own way, and then makes one call of attention. Its
replacement runs the same code, read from diffusers' source, but for that call, which goes to `TacaProcessor`. So
whatever a release of diffusers changes around the call holds for the replacement too, layers are called in the stock
order, and a traceback shows the lines of diffusers.
"""

import __future__

import ast
import inspect
import textwrap
from collections.abc import Callable
from functools import cache, partial
from types import FunctionType

import diffusers
import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import dispatch_attention_fn

from taca.errors import TacaError
from taca.processors.base import TacaProcessor

# How stock processors name their attention call, and the method of the replacement that takes its place.
_METHODS = {"dispatch_attention_fn": "_dispatch", "F.scaled_dot_product_attention": "_scaled_dot_product"}


class DerivedProcessor(TacaProcessor):
    """What the code of a stock processor calls in the place of attention."""

    def follow(self, attn: torch.nn.Module) -> None:
        """Takes over everything that the stock processor holds."""
        vars(self).update(vars(attn.processor))

    def _dispatch(self, query, key, value, attn_mask=None, **options) -> torch.Tensor:
        """`dispatch_attention_fn` with Eq. 10, on (B, L, H, D)."""
        attention = partial(_masked, dispatch_attention_fn, options)
        return self.tokens.attend(attention, query, key, value, attn_mask, self.gamma, 1)

    def _scaled_dot_product(self, query, key, value, attn_mask=None, **options) -> torch.Tensor:
        """PyTorch's `scaled_dot_product_attention` with Eq. 10, on (B, H, L, D)."""
        attention = partial(_masked, F.scaled_dot_product_attention, options)
        return self.tokens.attend(attention, query, key, value, attn_mask, self.gamma, 2)


@cache
def derived(stock: type) -> type[DerivedProcessor]:
    """The replacement of a class of stock processors.

    Raises:
        TacaError: its source calls no attention that TACA knows, or there is no source.
    """
    return type(f"Taca{stock.__name__}", (DerivedProcessor, stock), {"__call__": _redirected(stock.__call__)})


def _masked(function: Callable, options: dict, query, key, value, mask) -> torch.Tensor:
    return function(query, key, value, attn_mask=mask, **options)


def _redirected(function: FunctionType) -> FunctionType:
    """The same function, its attention calls made on `self`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:
        raise TacaError(
            f"TACA reads the source code of {function.__qualname__}, which is not there: install diffusers with it."
        ) from None
    redirection = _Redirection()
    tree = ast.fix_missing_locations(redirection.visit(tree))
    if not redirection.calls:
        raise TacaError(
            f"{function.__qualname__} of diffusers {diffusers.__version__} calls no attention that TACA knows: "
            "install diffusers 0.42, or a later taca-diffusers."
        )
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    # Annotations stay strings: some name what is imported for type checkers alone.
    flags = __future__.annotations.compiler_flag
    code = compile(tree, inspect.getfile(function), "exec", flags=flags, dont_inherit=True)
    made = {}
    exec(code, function.__globals__, made)
    return made[function.__name__]


class _Redirection(ast.NodeTransformer):
    calls = 0

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        method = _METHODS.get(ast.unparse(node.func))
        if method is not None:
            self.calls += 1
            node.func = ast.copy_location(ast.Attribute(ast.Name("self", ast.Load()), method, ast.Load()), node.func)
        return node
