"""What pyproject.toml cannot say: setuptools works outside of the tree, and leaves nothing behind in it."""

from tempfile import TemporaryDirectory

from setuptools import setup

with TemporaryDirectory() as folder:
    setup(options={"build": {"build_base": folder}, "egg_info": {"egg_base": folder}})
