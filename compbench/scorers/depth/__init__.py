"""Depth by DPT-Hybrid (Ranftl et al., 2021, arXiv 2103.13413) as T2I-CompBench++ uses it: inference only.

`model.DepthModel` is what the 3D-spatial scorer uses. Modules are named as the published checkpoint names its tensors.
"""
