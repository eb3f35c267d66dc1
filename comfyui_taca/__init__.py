"""TACA (arXiv 2506.07986) as a node of ComfyUI: copy this folder into `custom_nodes`. It needs nothing but ComfyUI."""

from .nodes import Taca

NODE_CLASS_MAPPINGS = {"TACA": Taca}
NODE_DISPLAY_NAME_MAPPINGS = {"TACA": "TACA"}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
