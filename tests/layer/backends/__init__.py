"""What a layer does on one of Keras' backends alone: `test_backends.py` runs it there."""
