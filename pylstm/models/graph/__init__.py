"""What a model tells of itself, and how masks get through its graph. It knows of no data."""
