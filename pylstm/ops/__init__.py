"""The LSTM as a function, one module for each kind of array."""

# What a call may choose besides its tensors, in the order of the kernels' attributes.
OPTIONS = (
    "activation",
    "recurrent_activation",
    "go_backwards",
    "return_sequences",
    "zero_output_for_mask",
)
