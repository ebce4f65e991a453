"""`pylstm.diagnose`: everything that is wrong with a model's input, at once.

data      each input as it is read (`corrections`), its axes (`shapes`) and numbers (`finite`,
          `values`), then `targets`
model     how its layers are stacked, and what computes them
masks     where padding would count as real (`ragged`: where there is none)
report    the table of what was found
"""

import keras

from pylstm.diagnosis.data import check_data
from pylstm.diagnosis.masks import check_masks
from pylstm.diagnosis.model import check_routes, check_stacking, check_steps
from pylstm.diagnosis.report import Finding, Report, unchecked

__all__ = ["Finding", "Report", "diagnose"]


def diagnose(model: keras.Model, x, y=None) -> Report:
    """Looks for every known way to get the input of an LSTM wrong.

    Trains nothing, changes nothing and never raises.

    Args:
        model: A Keras model with `pylstm.LSTM` or `keras.layers.LSTM` layers, built or not.
        x: What would go to `fit`: arrays, lists, ragged tensors, a `tf.data.Dataset`, ...
            Of a dataset, the first batches are read.
        y: The targets, or None.

    Returns:
        A `Report`: iterable, with `.ok`, and printed as a table.
    """
    if not isinstance(model, keras.Model):
        what = f"{type(model).__name__} is no Keras model"
        return Report([Finding("error", "PYL209", "model", what)])
    padded, findings = set(), []
    checks = (
        ("x", lambda: check_data(model, x, y, padded)),
        ("model", lambda: check_stacking(model)),
        ("model", lambda: check_steps(model, x, padded)),
        ("model", lambda: check_masks(model, padded)),
        ("model", lambda: check_routes(model)),
    )
    for where, check in checks:
        try:
            findings += check()
        except Exception as error:  # what cannot be checked hides nothing else
            findings.append(unchecked(where, error))
    return Report(findings)
