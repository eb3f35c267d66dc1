"""The pipeline's programs, one for each stage of `dvc.yaml`: read params, call the packages, write outputs."""
