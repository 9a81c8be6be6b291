"""Training data: clips of a manifest, splits, and the rendered workbench videos."""
