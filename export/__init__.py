"""Export of trained networks: ONNX, and a bundle only if it computes the same."""
