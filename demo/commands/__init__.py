"""Console scripts of the demo."""
