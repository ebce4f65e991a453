"""What pylstm would correct in an input, as findings: Keras refuses most of it."""

import keras

from pylstm.diagnosis.ragged import front_and_readers
from pylstm.diagnosis.report import Finding, summary_of
from pylstm.keras_graph import has_ragged, layers_of
from pylstm.layer import LSTM
from pylstm.models import SequenceInputs
from pylstm.models.data.entering import strictest_validate


def correction_findings(model, name, where, is_ragged, in_batches, findings):
    """A report for `read_column` and `enter_column` that makes findings of one input's corrections.

    Args:
        model: A Keras model.
        name: The input's name, or None.
        where: What the user calls it.
        is_ragged: Whether it came as a ragged tensor, or as another batch that has its lengths.
        in_batches: Whether it is part of a batch that goes to Keras as it is.
        findings: A list that grows by a `Finding` for each correction.
    """

    def report(code, got, done, line=None, silent=False):
        level, what, fix = "fixed", f"{got} {done}", line
        if code not in ("PYL126", "PYL127"):  # of the container alone
            if not _is_corrected(model, silent):
                level, what = "error", f"{summary_of(code)}: {got}"
        elif in_batches and not is_ragged:
            level, code, what = "error", "PYL147", f"the batches hold lists: {got}"
            fix = "pylstm.ragged(x) instead of a list" if has_ragged() else _to_pass(model, name)
        elif not _is_taken(model, name, is_ragged):
            level, code, what = "error", "PYL146", f"Keras refuses {got}"
            fix = _to_pass(model, name)
        findings.append(Finding(level, code, where, what, fix))

    return report


def _is_corrected(model, silent):
    if isinstance(model, SequenceInputs):
        return silent or strictest_validate(model) != "strict"
    if getattr(model, "inputs", None):
        return silent  # Keras itself adds or drops a last axis of size 1, and no other
    return any(isinstance(layer, LSTM) for layer in layers_of(model))


def _is_taken(model, name, is_ragged):
    if isinstance(model, SequenceInputs):
        return True
    return is_ragged and has_ragged() and _reader(model, name) is LSTM


def _reader(model, name):
    """The type of LSTM that reads an input, as a ragged tensor; None if there is none."""
    _, readers = front_and_readers(model, name)
    layers = [getattr(reader, "forward_layer", reader) for reader in readers]
    for kind in (LSTM, keras.layers.LSTM):
        if layers and all(isinstance(layer, kind) for layer in layers):
            return kind
    return None


def _to_pass(model, name):
    kind = _reader(model, name)
    if kind is not None:
        convert = "" if kind is LSTM else "model = pylstm.convert(model)\n"
        if has_ragged():
            return f"{convert}model.fit(pylstm.dataset(x, y))"
        return (
            f"{convert}model.fit(pylstm.dataset(x, y, mask_value=-1.0))     with the value in "
            "pylstm.LSTM(..., mask_value=-1.0), too"
        )
    if isinstance(model, keras.Sequential):
        return "model = pylstm.Sequential(model.layers)     compile it; its fit takes x"
    return "pylstm.Model instead of keras.Model: its fit takes x"
