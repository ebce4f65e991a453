"""pylstm's errors and its warning of corrections, and the table of their codes.

A message has four parts: what is wrong, what was expected (axes named), what came
instead, and the one line that fixes it. The same parts are attributes, so that a
program can act on them:

    FeatureMismatchError: [PYL103] layer 'lstm': feature size does not match.
      expected: (batch, time, features=6)     built from (None, 1440, 6)
      got:      (32, 1440, 7) float32         axis 2 is 7, not 6
      fix:      drop the extra feature, or rebuild with keras.Input((None, 7))
"""

import functools
import re
import sys
import warnings
from typing import NamedTuple

LIBRARIES = {"jax", "jaxlib", "keras", "numpy", "optree", "pylstm", "tensorflow", "torch", "tree"}
LIBRARIES |= sys.stdlib_module_names
"""Packages whose code may come between the user's line and what warns or raises."""

_INDENT = "\n" + " " * 12
_MESSAGE = re.compile(
    r"\[(?P<code>PYL\d+)\](?: layer '(?P<layer>.*)':)? (?P<what>.*)\."
    + "".join(
        rf"(?:\n  {part}: +(?P<{part}>.*(?:{_INDENT}.*)*))?" for part in ("expected", "got", "fix")
    )
)


class PylstmError(Exception):
    """Base of every pylstm error.

    Attributes:
        code: Key of `CODES`, such as `"PYL103"`.
        what: The sentence that says what is wrong.
        layer: Name of the layer that refused, or None.
        expected: What the layer can take, with named axes, or None.
        got: What it was given, or None.
        fix: The line to write instead, or None.
    """

    # Keras and AutoGraph rebuild foreign exceptions from their message alone, which
    # would lose the attributes. Both leave an exception with these marks as it is.
    _keras_call_info_injected = True
    ag_pass_through = True

    def __init__(self, code, what=None, *, layer=None, expected=None, got=None, fix=None):
        self.code = code
        self.what = CODES[code].summary if what is None else what
        self.layer = layer
        self.expected = expected
        self.got = got
        self.fix = fix
        super().__init__(self._message())

    def _message(self):
        where = f" layer '{self.layer}':" if self.layer else ""
        lines = [f"[{self.code}]{where} {self.what}."]
        for label in ("expected", "got", "fix"):
            text = getattr(self, label)
            if text is not None:
                # Continuation lines keep the column of the first.
                text = str(text).replace("\n", _INDENT)
                lines.append(f"  {label + ':':9} {text}")
        return "\n".join(lines)

    def at(self, layer):
        """The same error, naming the layer that refused unless it names one."""
        parts = {**self._parts(), "layer": self.layer or layer}
        return type(self)(self.code, self.what, **parts)

    def _parts(self):
        return {name: getattr(self, name) for name in ("layer", "expected", "got", "fix")}

    def __reduce__(self):
        return functools.partial(type(self), **self._parts()), (self.code, self.what)


def quoted_error(text):
    """The pylstm error whose message a text quotes, as those of TensorFlow's graphs do, or None."""
    if re.search(r"\\n  (expected|got|fix):", text):  # TensorFlow's Assert escapes what it quotes
        text = text.replace("\\n", "\n").replace("\\'", "'")
    found = _MESSAGE.search(text)
    if found is None:
        return None
    parts = {name: part and part.replace(_INDENT, "\n") for name, part in found.groupdict().items()}
    code = parts.pop("code")
    known = CODES.get(code)  # None where another version of pylstm wrote the text
    return known.error(code, **parts) if known and known.error else None


class ShapeError(PylstmError, ValueError):
    """The shape of an input, mask or state does not fit."""


class RankError(ShapeError):
    """The input has too few or too many axes."""


class FeatureMismatchError(ShapeError):
    """The feature axis does not match the weights."""


class TimestepError(ShapeError):
    """The number of time steps does not fit."""


class BatchMismatchError(ShapeError):
    """Two batch sizes that must agree do not."""


class MaskError(ShapeError):
    """The mask or the lengths do not fit the input."""


class RaggedError(ShapeError):
    """Sequences of several lengths cannot be joined into one batch."""


class StateError(ShapeError):
    """The initial state does not fit the layer or the batch."""


class DTypeError(PylstmError, TypeError, ValueError):
    """The values, or an argument, are of a kind that cannot be used, or not without a loss."""


class StructureError(PylstmError, ValueError):
    """The data are not arranged as expected: in parts, batches or sequences."""


class OptionError(PylstmError, ValueError):
    """An option has an invalid value."""


class BackendLoadError(PylstmError, ImportError):
    """The compiled library is missing or cannot be loaded."""


class DeviceError(PylstmError, RuntimeError):
    """The GPU cannot do what was asked of it."""


class ShapeCorrectionWarning(UserWarning):
    """The input was corrected: an axis added or dropped, steps changed, or lengths read."""


def warn_user(message, category=ShapeCorrectionWarning):
    """Warns at the user's line, which may have led here through Keras or its backend."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and not is_of_user(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def is_of_user(frame):
    """Whether a frame runs code of the user's, such as a script or a callback."""
    return frame.f_globals.get("__name__", "").partition(".")[0] not in LIBRARIES


class Code(NamedTuple):
    """One row of the table of codes."""

    error: type | None  # None: no error is raised
    summary: str


CODES = {
    # Errors.
    "PYL101": Code(RankError, "the number of axes does not fit"),
    "PYL102": Code(RankError, "the input can be read in more than one way"),
    "PYL103": Code(FeatureMismatchError, "feature size does not match"),
    "PYL104": Code(FeatureMismatchError, "feature size does not match; the axes look swapped"),
    "PYL105": Code(FeatureMismatchError, "the sequences have different feature sizes"),
    "PYL106": Code(RankError, "the previous recurrent layer returns its last step only"),
    "PYL107": Code(RankError, "the rank of the input is unknown"),
    "PYL108": Code(TimestepError, "there is no time step to give an output for"),
    "PYL109": Code(BatchMismatchError, "the batch size differs from the stateful layer's"),
    "PYL110": Code(BatchMismatchError, "inputs and targets differ in number"),
    "PYL111": Code(BatchMismatchError, "the rows of all sequences are joined along one axis"),
    "PYL112": Code(MaskError, "the mask does not fit the input"),
    "PYL113": Code(MaskError, "the lengths do not fit the input"),
    "PYL114": Code(RaggedError, "the sequences cannot be joined into one batch"),
    "PYL115": Code(RaggedError, "a tf.data batch holds sequences of different lengths"),
    "PYL116": Code(StateError, "the initial state does not fit"),
    "PYL117": Code(DTypeError, "the input is complex; an LSTM would drop the imaginary part"),
    "PYL118": Code(DTypeError, "the input does not hold numbers"),
    "PYL119": Code(TimestepError, "a sequence is longer than maxlen"),
    "PYL120": Code(TimestepError, "targets and sequences differ in their number of steps"),
    # Corrections: warnings, and errors under validate="strict", unless Keras would do the same.
    # PYL124 is also the error of a layer that takes no other number of steps.
    "PYL121": Code(RankError, "one sequence without a batch axis"),
    "PYL122": Code(RankError, "sequences without a feature axis"),
    "PYL123": Code(RankError, "an axis of size 1 too many"),
    "PYL124": Code(TimestepError, "not the number of time steps that the layer was built for"),
    "PYL125": Code(MaskError, "lengths were passed as the mask"),
    # Silent corrections, of the container or the dtype alone: warnings under validate="warn".
    "PYL126": Code(None, "the sequences were padded to one length"),
    "PYL127": Code(None, "the input was converted to one array"),
    # Masks and steps that Keras would lose.
    "PYL128": Code(RaggedError, "the mask of the padded steps would not leave the wrapper"),
    "PYL129": Code(TimestepError, "TimeDistributed would drop steps in a graph"),
    "PYL130": Code(RaggedError, "the mask of the padded steps would be lost"),
    # The software itself.
    "PYL131": Code(BackendLoadError, "the compiled library is missing"),
    "PYL132": Code(BackendLoadError, "the compiled library cannot be loaded"),
    "PYL133": Code(PylstmError, "the fused kernel cannot run this layer"),
    "PYL134": Code(PylstmError, "the fused kernel has no such derivative"),
    "PYL135": Code(DeviceError, "no GPU here can run the CUDA kernels"),
    "PYL136": Code(DeviceError, "the GPU is out of memory"),
    "PYL137": Code(DeviceError, "CUDA reports an error"),
    "PYL138": Code(DeviceError, "the arrays are not where the kernels can reach them"),
    # Arguments of functions.
    "PYL141": Code(ShapeError, "the shapes do not fit each other"),
    "PYL142": Code(DTypeError, "an argument is of the wrong type"),
    "PYL143": Code(OptionError, "the activation is unknown"),
    # Other options.
    "PYL144": Code(OptionError, "an option has an invalid value"),
    "PYL145": Code(OptionError, "the model cannot be converted"),
    # The data as a whole.
    "PYL146": Code(StructureError, "the data are not arranged as expected"),
    "PYL147": Code(StructureError, "the batches differ, or hold what Keras does not take"),
    "PYL148": Code(DTypeError, "the input does not hold text"),
    # What `diagnose` reports, too.
    "PYL212": Code(ShapeError, "labels for which the model has no output"),
}
"""Code to (error class or None, summary). docs/errors.md is tested against this table."""
