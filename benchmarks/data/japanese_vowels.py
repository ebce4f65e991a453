"""Japanese Vowels: 640 utterances of the vowels /ae/ by 9 speakers; see README.md beside this."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

N_SPEAKERS = 9
N_COEFFICIENTS = 12
_ARCHIVE = Path(__file__).with_name("japanese_vowels.npz")


class Split(NamedTuple):
    """Recordings of different lengths and who spoke them."""

    recordings: list[np.ndarray]  # each (T_i, 12) float32, 7 <= T_i <= 29
    speakers: np.ndarray  # (N,) int64 in [0, 9)


def load() -> tuple[Split, Split]:
    """Returns the data set's own training (270) and test (370) splits."""
    with np.load(_ARCHIVE, allow_pickle=False) as archive:
        return _read_split(archive, "train"), _read_split(archive, "test")


def _read_split(archive, name: str) -> Split:
    ends = np.cumsum(archive[f"{name}_lengths"], dtype=np.int64)
    recordings = np.split(archive[f"{name}_frames"], ends[:-1])
    return Split(recordings, archive[f"{name}_speakers"].astype(np.int64))
