"""Files that others host: a repository of the hub, or a bucket, read in parts. `sample.folder` names it for them."""
