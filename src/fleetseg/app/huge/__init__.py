"""Images of any size: windows slide over them, their answers are blended, the labels are written as tiles."""
