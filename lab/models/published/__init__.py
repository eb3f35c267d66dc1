"""Bases that others have published: which files a pipeline loads, their download, and the pin that names each by hash."""
