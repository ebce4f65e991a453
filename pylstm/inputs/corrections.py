"""Collects what one call had to correct, and says so as the layer's `validate` asks."""

from typing import NamedTuple

from pylstm.errors import CODES, warn_user
from pylstm.inputs.explain import expected_input


class Correction(NamedTuple):
    """One thing that was changed.

    Attributes:
        code: Its row in `pylstm.errors.CODES`.
        message: What was changed, and how to write it so that nothing has to be.
        silent: Whether `validate="auto"` does it without a warning.
    """

    code: str
    message: str
    silent: bool = False


class Corrections:
    """The corrections of one call; call it to report one.

    Args:
        name: Of the layer or the model that is called.
        known: What it knows of its input, a `contract.Known`.
        validate: What a `pylstm.LSTM` is to do with input that needs correcting.
    """

    def __init__(self, name, known, validate):
        self._name = name
        self._known = known
        self._validate = validate
        self._made = []

    def __call__(self, code, got, done, line=None, silent=False):
        """Records a correction.

        Args:
            code: Its row in `pylstm.errors.CODES`.
            got: What was given.
            done: What was done with it, as the end of a sentence.
            line: What the user would write instead.
            silent: Whether Keras' own models do the same without a word, or only the
                container or the dtype changes.

        Raises:
            PylstmError: It is not silent, and the layer is strict.
        """
        if self._validate == "strict" and not silent:
            expected = expected_input(self._known)
            raise CODES[code].error(code, expected=expected, got=got, fix=line)
        advice = f" Better: {line}" if line else ""
        summary = f"[{code}] layer '{self._name}': {CODES[code].summary}"
        self._made.append(Correction(code, f"{summary}: {got} {done}.{advice}", silent))

    def warn(self, warned):
        """Warns once for each kind of correction.

        Args:
            warned: Codes of which the user has been warned; grows.

        Returns:
            The corrections as a tuple.
        """
        for code, message, silent in self._made:
            if code not in warned and (not silent or self._validate == "warn"):
                warn_user(message)
                warned.add(code)  # not where the warning was raised as an error
        return tuple(self._made)
