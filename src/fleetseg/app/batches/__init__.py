"""Many images, on local processes or on a Ray cluster: what is finished is written down and not done again."""
