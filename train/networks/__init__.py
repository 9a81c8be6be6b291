"""Networks over a whole video, one a file: features (B, T, F) in, H (B, T, D) and v (B, D) out."""
