"""What a model tells of itself, and the way of the mask through its graph."""
