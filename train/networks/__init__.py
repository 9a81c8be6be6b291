"""Networks that make H and v of what the image tower gives, beside the temporal encoder."""
