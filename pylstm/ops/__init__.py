"""The LSTM as a function, one module for each kind of array."""
