"""What pylstm would correct in an input, as findings: Keras refuses most of it."""

import keras

from pylstm.diagnosis.ragged import front_and_readers
from pylstm.diagnosis.report import Finding, summary_of
from pylstm.keras_graph import has_ragged, layers_of
from pylstm.layer import LSTM
from pylstm.models import SequenceInputs
from pylstm.models.data.entering import strictest_validate

_CONTAINERS = ("PYL126", "PYL127")


class CorrectionFindings:
    """Makes findings of the corrections of one input: a report for `read_column`, `enter_column`.

    Args:
        model: A Keras model.
        name: The input's name, or None.
        where: What the user calls it.
        is_ragged: Whether it came as a ragged tensor, or as another batch that has its lengths.
        in_batches: Whether it is part of a batch that goes to Keras as it is.
        findings: A list that grows by a `Finding` for each correction.
    """

    def __init__(self, model, name, where, is_ragged, in_batches, findings):
        self._model = model
        self._name = name
        self._where = where
        self._is_ragged = is_ragged
        self._in_batches = in_batches
        self._findings = findings

    def __call__(self, code, got, done, line=None, silent=False):
        level, what, fix = "fixed", f"{got} {done}", line
        if code not in _CONTAINERS and not self._is_corrected(silent):
            level, what = "error", f"{summary_of(code)}: {got}"
        elif code in _CONTAINERS and self._in_batches and not self._is_ragged:
            level, code, what = "error", "PYL147", f"the batches hold lists: {got}"
            fix = "pylstm.ragged(x) instead of a list" if has_ragged() else self._way_to_pass()
        elif code in _CONTAINERS and not self._is_taken():
            level, code, what = "error", "PYL146", f"Keras refuses {got}"
            fix = self._way_to_pass()
        self._findings.append(Finding(level, code, self._where, what, fix))

    def _is_corrected(self, silent):
        if isinstance(self._model, SequenceInputs):
            return silent or strictest_validate(self._model) != "strict"
        if getattr(self._model, "inputs", None):
            return silent  # Keras itself adds or drops a last axis of size 1, and no other
        return any(isinstance(layer, LSTM) for layer in layers_of(self._model))

    def _is_taken(self):
        if isinstance(self._model, SequenceInputs):
            return True
        return self._is_ragged and has_ragged() and self._reader() is LSTM

    def _reader(self):
        """The type of LSTM that reads the input, as a ragged tensor; None if there is none."""
        _, readers = front_and_readers(self._model, self._name)
        layers = [getattr(reader, "forward_layer", reader) for reader in readers]
        for kind in (LSTM, keras.layers.LSTM):
            if layers and all(isinstance(layer, kind) for layer in layers):
                return kind
        return None

    def _way_to_pass(self):
        kind = self._reader()
        if kind is not None:
            convert = "" if kind is LSTM else "model = pylstm.convert(model)\n"
            if has_ragged():
                return f"{convert}model.fit(pylstm.dataset(x, y))"
            return (
                f"{convert}model.fit(pylstm.dataset(x, y, mask_value=-1.0))     with the value in "
                "pylstm.LSTM(..., mask_value=-1.0), too"
            )
        if isinstance(self._model, keras.Sequential):
            return "model = pylstm.Sequential(model.layers)     compile it; its fit takes x"
        return "pylstm.Model instead of keras.Model: its fit takes x"
