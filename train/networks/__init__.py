"""The networks over time: from features or pixels of T frames to H (frames in context) and v (the video)."""
