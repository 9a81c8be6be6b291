"""Console scripts of training."""
