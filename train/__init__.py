"""Training: PyTorch networks, losses, data, and the loop. Importing this package alone loads no torch."""
