"""Random sequences, and the containers in which people keep them."""

import numpy as np
import pandas as pd
import tensorflow as tf

import pylstm

LENGTHS = (3, 2, 4, 2, 3, 1)


def sequences(lengths=LENGTHS, features=5, seed=0, dtype=np.float32):
    """Sequences (T_i, features) of standard normal numbers, one for each length."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(t, features)).astype(dtype) for t in lengths]


def object_array(seqs):
    array = np.empty(len(seqs), object)
    for i, seq in enumerate(seqs):  # array[:] = seqs would not take the rows of an array
        array[i] = seq
    return array


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "nested lists": lambda seqs: [seq.tolist() for seq in seqs],
    "object array": object_array,
    "series": pd.Series,
    "data frames": lambda seqs: [pd.DataFrame(seq) for seq in seqs],
    "tensors": lambda seqs: [tf.constant(seq) for seq in seqs],
    "ragged": pylstm.ragged,
}
