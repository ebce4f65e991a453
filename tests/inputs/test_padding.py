"""Padding and its inverse, over every container in which people keep sequences."""

import functools
import warnings

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from pylstm import errors
from pylstm.inputs.padding import PaddedBatch, pad, ragged, unpad
from tests import data

LENGTHS = (2, 5, 1, 3)
sequences = functools.partial(data.sequences, LENGTHS, 3)

FORMS = data.CONTAINERS | {
    "generator": lambda s: (a for a in s),
    "data frame of lists": lambda s: pd.DataFrame([[list(column) for column in a.T] for a in s]),
    "ragged_rank 2": lambda s: tf.ragged.stack(list(s)),
}


@pytest.mark.parametrize("container", FORMS)
@pytest.mark.parametrize("padding", ["post", "pre"])
def test_unpad_inverts_pad(container, padding):
    seqs = sequences()
    batch = pad(FORMS[container](seqs), padding=padding)
    assert isinstance(batch, PaddedBatch)
    assert batch.x.shape == (4, 5, 3)
    assert batch.mask.dtype == bool
    assert batch.lengths.tolist() == list(LENGTHS)
    back = unpad(batch)
    assert len(back) == 4
    for got, want in zip(back, seqs, strict=True):
        np.testing.assert_array_equal(got.astype(np.float32), want)
    assert np.all(batch.x[~batch.mask] == 0)


def test_post_and_pre_put_the_padding_where_they_say():
    seqs = [[1, 2], [3]]
    assert pad(seqs).x.tolist() == [[1, 2], [3, 0]]
    assert pad(seqs, padding="pre").x.tolist() == [[1, 2], [0, 3]]
    with pytest.raises(ValueError, match=r"PYL144(.|\n)*'post' or 'pre'\n.*got: +'left'"):
        pad(seqs, padding="left")
    assert pad(seqs, maxlen=3, value=9).x.tolist() == [[1, 2, 9], [3, 9, 9]]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"maxlen": 5.0}, r"maxlen a whole number(.|\n)*got: +5\.0"),
        ({"value": "a"}, r"value a number(.|\n)*got: +'a'"),
        ({"value": None}, r"value a number(.|\n)*got: +None"),
    ],
)
def test_options_of_pad(option, message):
    with pytest.raises(errors.OptionError, match=r"PYL144(.|\n)*" + message):
        pad(sequences(), **option)


def test_unpad_refuses_a_mask_of_uneven_rows():
    y = pad(sequences()).x
    with pytest.raises(errors.MaskError, match=r"PYL112(.|\n)*got: +rows of different lengths"):
        unpad(y, mask=[[True] * length for length in LENGTHS])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
def test_dtype_is_kept(dtype):
    assert pad(sequences(dtype=dtype)).x.dtype == dtype


def test_tokens_stay_integers_and_bfloat16_stays():
    assert pad([[4, 5], [6]]).x.dtype == np.int64
    assert pad([[4, 5], []]).x.dtype == np.int64
    assert pad([[], np.ones((2, 3), "float32")]).x.shape == (2, 2, 3)
    batch = pad([tf.constant([[1.5]], tf.bfloat16), tf.constant([[2.0], [3.0]], tf.bfloat16)])
    assert batch.x.dtype.name == "bfloat16"


def test_fractions_are_never_rounded_away():
    """keras.utils.pad_sequences turns [0, 1) into zeros: its default dtype is int32."""
    seqs = [np.full((2, 1), 0.7), np.full((1, 1), 0.2)]
    assert pad(seqs).x[0, 0, 0] == 0.7
    with pytest.raises(errors.DTypeError, match=r"\[PYL142\] the numbers do not fit int32"):
        pad(seqs, dtype="int32")
    with pytest.raises(errors.DTypeError, match=r"value=0\.5"):
        pad([[1, 2], [3]], value=0.5)
    for value in (-1, 256, np.nan):
        with pytest.raises(errors.DTypeError, match="the numbers do not fit uint8") as caught:
            pad(sequences(dtype="uint8"), value=value)
        assert caught.value.expected == "numbers that uint8 can hold"
        assert caught.value.got == f"uint8 sequences, value={value}"
        assert caught.value.fix == "dtype='float32'"
        assert pad(sequences(dtype="uint8"), value=value, dtype="float32").x.dtype == np.float32
    with pytest.raises(errors.DTypeError, match="do not fit int8"):
        pad([[1, 200], [3]], dtype="int8")
    assert pad([[1.0, 2.0], [3.0]], dtype="int32").x.dtype == np.int32


@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16])
def test_padding_is_the_value_that_a_layer_will_look_for(dtype):
    seqs = sequences(dtype=dtype)
    assert pad(seqs, value=-1.0).x.dtype == dtype
    for value in (0.1, -9999.0, -1e9):
        batch = pad(seqs, value=value)
        assert (batch.x[~batch.mask] == np.float32(value)).all()
        with pytest.raises(errors.DTypeError, match=f"the numbers do not fit {np.dtype(dtype)}"):
            pad(seqs, value=value, dtype=dtype)


@pytest.mark.parametrize("number", [1e6, 100_003])
def test_numbers_never_become_infinite(number):
    with pytest.raises(errors.DTypeError, match="the numbers do not fit float16") as caught:
        pad([[number, 2], [3]], dtype="float16")
    assert caught.value.fix == "leave dtype out, or pad with dtype='float32'"
    assert pad([[np.inf, 0.1], [3.0]], dtype="float16").x[0, 0] == np.inf


def test_never_truncates():
    with pytest.raises(errors.TimestepError, match="at most maxlen=4 time steps") as caught:
        pad(sequences(), maxlen=4)
    assert caught.value.code == "PYL119"
    assert "sequence 1 has 5" in caught.value.got


def test_a_sequence_of_length_0_is_a_masked_row():
    batch = pad([np.ones((2, 3)), [], np.ones((0, 3))])
    assert batch.x.shape == (3, 2, 3)
    assert batch.mask.tolist() == [[True, True], [False, False], [False, False]]


def test_different_features_are_named():
    with pytest.raises(errors.FeatureMismatchError, match=r"\[PYL105\]") as caught:
        pad([np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4))])
    assert caught.value.got == "sequence 0 is (2, 3), sequence 2 is (2, 4)"


def test_complex():
    with pytest.raises(errors.DTypeError, match="imaginary part") as caught:
        pad([np.ones((2, 3), complex)])
    assert caught.value.code == "PYL117"


def test_strings():
    with pytest.raises(errors.DTypeError, match="does not hold numbers") as caught:
        pad([["a", "b"], ["c"]])
    assert caught.value.code == "PYL118"


def test_batch_axis_on_each():
    seqs = sequences()
    with pytest.warns(errors.ShapeCorrectionWarning, match=r"PYL123.*\(1, time, features\)"):
        batch = pad([s[None] for s in seqs])
    np.testing.assert_array_equal(batch.x, pad(seqs).x)


@pytest.mark.parametrize(
    "seqs, error, match",
    [
        ([], errors.StructureError, "PYL146(?s:.*)empty collection"),
        ([1.0, 2.0], errors.RankError, "element 0 is a single number"),
        (3, errors.DTypeError, "PYL142(?s:.*)got: +int"),
        ("abc", errors.DTypeError, "PYL142(?s:.*)got: +str"),
        ([np.ones((2, 3)), np.ones(2)], errors.RankError, "different numbers of axes"),
        ([[[1, 2], [3]]], errors.RaggedError, "the steps of sequence 0 differ in size"),
    ],
)
def test_what_is_no_list_of_sequences_says_so(seqs, error, match):
    with pytest.raises(error, match=match):
        pad(seqs)


@pytest.mark.parametrize("shapes", [((1, 4, 3), (2, 3)), ((2, 3), (1, 4, 3))])
def test_a_batch_axis_on_some_sequences(shapes):
    sequences = [np.ones(shape) for shape in shapes]
    with pytest.raises(errors.RankError, match="different numbers of axes") as caught:
        pad(sequences)
    fixed = eval(caught.value.fix, {"sequences": sequences})
    assert sorted(pad(fixed).lengths) == [2, 4]


def test_unpad_checks_what_it_is_told():
    x = np.arange(6).reshape(2, 3)
    assert [s.tolist() for s in unpad(x, lengths=[3, 1])] == [[0, 1, 2], [3]]
    holes = np.array([[True, False, True], [False, False, False]])
    assert [s.tolist() for s in unpad(x, mask=holes)] == [[0, 2], []]
    with pytest.raises(errors.MaskError, match="which steps are real"):
        unpad(x)
    assert [s.tolist() for s in unpad(x, lengths=[3.0, 1.0])] == [[0, 1, 2], [3]]
    for lengths, fix in (
        ([3, 4], r"np.clip\(lengths, 0, 3\)"),
        ([3, 1.5], r"np.asarray\(lengths, 'int32'\)"),
        ([3], r"lengths=\[T_1, T_2, ...\]"),
    ):
        with pytest.raises(errors.MaskError, match=rf"PYL113.*(.|\n)*{fix}"):
            unpad(x, lengths=lengths)
    for given in {"lengths": [3, 1]}, {"mask": holes}:
        with pytest.raises(errors.MaskError, match=rf"which(.|\n)*{next(iter(given))} and a"):
            unpad(pad([x[0], x[1]]), **given)
    with pytest.raises(errors.RankError, match=r"PYL101(.|\n)*\(batch, time, ...\)"):
        unpad(np.arange(3.0), mask=[1, 1, 0])
    with pytest.raises(errors.MaskError, match=r"mask \(2, 2\)"):
        unpad(x, mask=holes[:, :2])
    with pytest.raises(errors.StructureError, match=r"PYL146(.|\n)*one array(.|\n)*a list of 2"):
        unpad([x[0], x[1, :2]], lengths=[3, 2])


def test_ragged_has_static_features_and_the_same_values():
    seqs = sequences()
    tensor = ragged(seqs)
    assert tensor.shape.as_list() == [4, None, 3] and tensor.ragged_rank == 1
    for got, want in zip(tensor, seqs, strict=True):
        np.testing.assert_array_equal(got, want)


def test_padding_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pad(sequences())
