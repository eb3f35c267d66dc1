"""UniDet (Zhou et al., 2022, arXiv 2102.13086) as T2I-CompBench runs it, on torch and torchvision; inference only.

`detector.UniDetDetector` is what scorers use. Modules are named as the published checkpoints name their tensors.
"""
