"""Console scripts of the export."""
