"""The CPU kernels against the float64 reference: sizes, options, masks, types, instruction sets."""

import numpy as np
import pytest

from pylstm import _core
from pylstm.reference import ACTIVATIONS, lstm_forward
from tests.cases import Case, make_inputs, make_output_gradients
from tests.cpu.calls import check, run_backward, run_forward
from tests.tolerances import assert_close

DTYPES = ("float32", "float64", "float16", "bfloat16")
MASKS = ("right", "left", "holes", "rows", "all")
UNITS = (*range(1, 18), 20, 33, 50, 65)  # every number of units in the last panel

isas = pytest.mark.parametrize("isa", _core.isas())


def cases(*all_cases):
    return pytest.mark.parametrize("case", all_cases, ids=str)


@isas
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("features", (1, 13, 33))
def test_odd_units_and_features(isa, units, features):
    check(Case(units=units, features=features, isa=isa))


@isas
@pytest.mark.parametrize("units", UNITS)
def test_odd_units_with_recurrent_dropout(isa, units):
    check(Case(units=units, dropout=True, isa=isa))


@isas
@pytest.mark.parametrize("batch", (*range(1, 8), 13))
@pytest.mark.parametrize("time", (1, 2, 9))
def test_odd_batches_and_times(isa, batch, time):
    check(Case(batch=batch, time=time, isa=isa))


@isas
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask", (None, "holes"))
@pytest.mark.parametrize("dropout", (False, True))
def test_dtypes(isa, dtype, mask, dropout):
    check(Case(dtype=dtype, mask=mask, dropout=dropout, units=33, batch=7, isa=isa))


@isas
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("go_backwards", (False, True))
@pytest.mark.parametrize("return_sequences", (False, True))
@pytest.mark.parametrize("zero_output_for_mask", (False, True))
def test_masks(isa, mask, go_backwards, return_sequences, zero_output_for_mask):
    options = {
        "go_backwards": go_backwards,
        "return_sequences": return_sequences,
        "zero_output_for_mask": zero_output_for_mask,
    }
    check(Case(batch=9, time=11, mask=mask, options=options, isa=isa))


@isas
@pytest.mark.parametrize("dropout", (False, True))
@pytest.mark.parametrize("rows", range(1, 15))
def test_rows_of_tiles(isa, rows, dropout):
    """Each number of rows is cut into other tiles; the last panel of units is not whole."""
    check(Case(batch=rows, time=9, units=45, features=6, dropout=dropout, isa=isa))


# Where the processor multiplies pairs of bfloat16: odd numbers of features, units and entries,
# several blocks of k, chunks and panels, x W ahead of the steps, weights as they lie, and whole
# tiles of rows that lie evenly or not.
@isas
@cases(
    Case(units=1, features=1, batch=1, time=1),
    Case(units=1, features=1, batch=3, time=5, mask="holes"),
    Case(units=31, features=2, batch=1, time=4, dropout=True),
    Case(units=32, features=17, batch=9, time=9, options={"go_backwards": True}, mask="left"),
    Case(units=65, features=33, batch=3, time=11, dropout=True, mask="right"),
    Case(units=21, features=3, batch=7, time=9, mask="holes"),
    Case(units=41, features=12, batch=5, time=6),
    Case(units=47, features=131, batch=1, time=33, bias=False),
    Case(units=50, features=301, batch=2, time=40, dropout=True),
    Case(units=350, features=21, batch=13, time=45, mask="holes"),
    Case(units=33, features=5, batch=11, time=75, mask="right"),
    Case(units=130, features=80, batch=67, time=5),
    Case(units=65, features=40, batch=33, time=5, dropout=True),
    Case(units=40, features=30, batch=48, time=9, mask="holes"),
    Case(units=64, features=64, batch=32, time=3, bias=False),
)
def test_bfloat16(isa, case):
    check(case.with_(dtype="bfloat16", isa=isa, threads=2))


@isas
@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_inputs_saturate_the_gates(isa, dtype):
    """Infinity times the zeros that fill up a vector is NaN; that must not reach a unit."""
    case = Case(time=3, units=17, features=1, dtype=dtype, isa=isa)
    inputs = make_inputs(case)
    inputs[0][0, 0, 0] = np.inf
    y = run_forward(case, inputs)[0]
    assert_close(y, lstm_forward(*inputs)[0], dtype)


@isas
@cases(
    Case(bias=False),
    Case(dropout=True, bias=False, mask="left"),
    Case(options={"go_backwards": True}),
    Case(options={"return_sequences": False}),
    Case(options={"return_sequences": False, "go_backwards": True}, dropout=True),
)
def test_options(isa, case):
    check(case.with_(isa=isa))


@isas
@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("role", ("activation", "recurrent_activation"))
def test_activations(isa, dtype, name, role):
    scale = 0.2 if name == "exponential" else 1.0  # it grows by iterating
    check(Case(time=3, units=18, dtype=dtype, scale=scale, options={role: name}, isa=isa))


def test_every_activation_is_tested():
    assert sorted(_core.activations()) == sorted(ACTIVATIONS)


@isas
@cases(
    Case(batch=0),
    Case(time=0),
    Case(time=0, options={"return_sequences": False}),
    Case(batch=0, time=0),
    Case(time=0, mask="right"),
    Case(units=0),
    Case(units=0, dropout=True),
)
def test_empty(isa, case):
    check(case.with_(isa=isa))


# Sizes on both sides of every boundary: rows of a tile, panels, chunks of the backward pass, steps
# whose x W is computed at once, x and h that share a block of k, weights read in place, and the
# split of rows or of units among threads.
LARGE = (
    Case(batch=32, time=60, features=13, units=50),
    Case(batch=64, time=9, features=80, units=130),
    Case(batch=70, time=30, features=5, units=40, mask="right"),
    Case(batch=3, time=200, features=40, units=100, mask="holes"),
    Case(batch=1, time=120, features=64, units=200),
    Case(batch=2, time=40, features=300, units=70, dropout=True),
    Case(batch=600, time=3, features=4, units=20),
    Case(batch=211, time=4, features=20, units=40, mask="holes"),
    Case(batch=211, time=3, features=7, units=33, dropout=True, mask="right"),
    Case(batch=9, time=500, features=4, units=20, mask="one"),
    Case(batch=20, time=6, features=330, units=330),
    Case(batch=1, time=1, features=100, units=600),
    Case(batch=24, time=50, features=20, units=65, dropout=True, mask="left"),
    Case(batch=7, time=5, features=100, units=230, dropout=True, mask="holes"),
    Case(batch=5, time=90, features=200, units=40, mask="right"),
    Case(batch=1, time=25, features=130, units=205),
    Case(batch=2, time=32, features=3, units=150, dropout=True, mask="holes"),
    Case(batch=2, time=33, features=3, units=150, dropout=True, mask="holes"),
    Case(batch=2, time=12, features=260, units=90, dtype="float64", options={"go_backwards": True}),
    Case(batch=4, time=2, features=20, units=90, dtype="float16", mask="right"),
    Case(batch=7, time=1, features=20, units=90, dropout=True, bias=False),
    Case(batch=17, time=12, features=80, units=50),
    Case(batch=30, time=12, features=100, units=130),
    Case(batch=20, time=3, features=800, units=560),
    Case(batch=4, time=2, features=20, units=800),
)


@isas
@cases(*LARGE)
def test_large(isa, case):
    check(case.with_(isa=isa, threads=2))


@cases(*LARGE)
def test_threads_do_not_change_a_bit(case):
    first, *others = [sum(check(case.with_(threads=n)), ()) for n in (1, 2, 3, 4, 8)]
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


@isas
@cases(
    Case(batch=40, time=50, features=24, units=64, mask="holes"),
    Case(batch=80, time=6, features=40, units=70),
)
def test_threads_do_not_change_a_bit_of_bfloat16(isa, case):
    test_threads_do_not_change_a_bit(case.with_(dtype="bfloat16", isa=isa))


@isas
@cases(
    Case(batch=1, time=1, features=64, units=256),
    Case(batch=1, time=1, features=600, units=600),
    Case(batch=5, time=1, features=330, units=330),
)
def test_shares_of_the_units_do_not_change_a_bit(isa, case):
    """Threads may start too late for a call to be shared, so there are many, close together."""
    inputs = make_inputs(case)
    shared = [case.with_(isa=isa, threads=threads) for threads in (2, 3) * 50]
    expected = run_forward(case.with_(isa=isa), inputs)[0]
    for y, *_ in [run_forward(share, inputs) for share in shared]:
        np.testing.assert_array_equal(y, expected)


@cases(
    Case(batch=28, time=200, features=5, units=33),
    Case(batch=28, time=200, features=5, units=33, mask="holes"),
    Case(batch=28, time=100, features=5, units=33, dropout=True, dtype="bfloat16"),
    Case(batch=14, time=200, features=500, units=20),
    Case(batch=18, time=4, features=5, units=1030, mask="holes"),
    Case(batch=100, time=3, features=5, units=1030, dropout=True),
)
def test_work_that_another_thread_takes_does_not_change_a_bit(case):
    """Of more threads than cores some fall behind, and those that are done take rows of theirs, or,
    of the last two cases, units, and pieces of the gradients' products."""
    inputs = make_inputs(case)
    gradients = make_output_gradients(case)

    def results(case):
        *outputs, reserve = run_forward(case, inputs, save_for_backward=True)
        return *outputs, *run_backward(case, inputs, reserve, gradients)

    expected = results(case)
    for threads in (2, 3, 4) * 10:
        for result, one in zip(results(case.with_(threads=threads)), expected, strict=True):
            np.testing.assert_array_equal(result, one)


@pytest.mark.parametrize("batch", [2, 64], ids=["sharing the cores", "taking turns"])
def test_many_calls_at_once(batch):
    """Callers share one pool, with more of them than cores; none waits for another for ever."""
    from concurrent.futures import ThreadPoolExecutor

    case = Case(batch=batch, time=60, features=16, units=128, threads=4)
    inputs = make_inputs(case)
    expected = run_forward(case, inputs)[0]
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: run_forward(case, inputs)[0], range(200)):
            np.testing.assert_array_equal(y, expected)
