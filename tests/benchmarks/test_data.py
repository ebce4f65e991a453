import numpy as np

from benchmarks.data.japanese_vowels import N_COEFFICIENTS, N_SPEAKERS, load


def test_japanese_vowels_is_the_published_data_set():
    train, test = load()
    assert (len(train.recordings), len(test.recordings)) == (270, 370)
    lengths = [len(r) for r in train.recordings + test.recordings]
    assert (min(lengths), max(lengths)) == (7, 29)
    assert all(r.shape[1] == N_COEFFICIENTS for r in train.recordings + test.recordings)
    np.testing.assert_array_equal(np.bincount(train.speakers), [30] * N_SPEAKERS)
    per_speaker = [31, 35, 88, 44, 29, 24, 40, 50, 29]
    np.testing.assert_array_equal(np.bincount(test.speakers), per_speaker)
    # The first values of the archive's first training utterance.
    np.testing.assert_allclose(train.recordings[0][:2, 0], [1.860936, 1.891651], rtol=1e-6)
    np.testing.assert_allclose(train.recordings[0][0, :2], [1.860936, -0.207383], rtol=1e-6)
