"""Pictures that are more than one file of a few megapixels: videos and cameras, huge images, batches."""
