"""`pylstm.LSTM`: `keras.layers.LSTM` on the fused kernel."""

from typing import Literal, get_args

import keras
from keras import ops

from pylstm.errors import OptionError
from pylstm.fused import fused_loop
from pylstm.inputs import check_mask_value, prepare, readable_shape
from pylstm.inputs.masks import from_value
from pylstm.routing import FUSED, choose_route, xla_is_keras_default

Kernel = Literal["auto", "fused", "keras"]
Validate = Literal["auto", "warn", "strict"]


@keras.saving.register_keras_serializable(package="pylstm")
class LSTM(keras.layers.LSTM):
    """Long short-term memory layer, a drop-in for `keras.layers.LSTM`.

    It takes the same arguments, makes the same weights, files and numbers, and
    computes the whole sequence by one fused operation, with any of Keras' pointwise
    activations, any mask, dropout and bias.

    Args:
        units: Size of the output and of each of the two states.
        kernel: `"auto"` runs the fused kernel wherever it can and Keras' loop
            elsewhere, `"fused"` raises where it cannot, `"keras"` always runs
            Keras' loop.
        validate: What to do with input that needs correcting. `"auto"` corrects it,
            and warns unless Keras' own models make the same correction in silence;
            `"warn"` warns of every kind of correction; `"strict"` raises where
            `"auto"` would warn.
        mask_value: Steps whose features all equal this value are masked, as by
            `keras.layers.Masking`. None: no value is special. It cannot be nan, which
            equals nothing.
        *args, **kwargs: As for `keras.layers.LSTM`. `use_cudnn` and `unroll` steer only
            Keras' loop; but on JAX `unroll` also decides, as in Keras, whether leading
            masked steps give zeros or the initial state.

    Call arguments:
        sequences: `(batch, time, features)`, or what `pylstm.inputs` makes into that,
            such as a list of `(time, features)` arrays or a `tf.RaggedTensor`.
        initial_state: Two tensors `(batch, units)`, or `(1, units)` for every sequence.
            None: zeros, or the states kept by a stateful layer.
        mask: Boolean `(batch, time)`, True where the step counts. Any pattern.
        lengths: Integers `(batch,)`: the steps of each row that count, from the left.
        training: Whether dropout applies.

    Attributes:
        corrections: What the newest call corrected in its input, as a tuple of
            `pylstm.inputs.Correction`.

    Raises:
        PylstmError: When called with input that has no single reading, or with
            `kernel="fused"` where the fused kernel cannot run.
        MaskError: When made with a `mask_value` that is nan or not one number.
        OptionError: When made with another `kernel` or `validate`.
    """

    def __init__(
        self,
        units: int,
        *args,
        kernel: Kernel = "auto",
        validate: Validate = "auto",
        mask_value: float | None = None,
        **kwargs,
    ):
        super().__init__(units, *args, **kwargs)
        self.kernel = _one_of(self, "kernel", kernel, get_args(Kernel))
        self.validate = _one_of(self, "validate", validate, get_args(Validate))
        self.mask_value = check_mask_value(mask_value, self.name)
        if mask_value is not None:  # which a `Bidirectional` on cuDNN would ignore
            self.use_cudnn = False
        self.corrections = ()
        self.input_spec = None  # `prepare` checks more, and says more.
        self._route = None
        # As stock Keras does for cuDNN: where jit_compile="auto" would choose XLA,
        # which cannot call the fused kernel, the kernel is the better choice.
        if kernel != "keras" and xla_is_keras_default():
            self.supports_jit = False

    @property
    def path(self) -> str | None:
        """What computes the newest call or traced graph: `"fused"`, `"keras"`, or None before it.

        This hides Keras' own `Layer.path`, the name scope of the layer.
        """
        return self._route and self._route.path

    @property
    def path_reason(self) -> str | None:
        """A sentence that says why `path` is what it is. None before a call."""
        return self._route and self._route.reason

    @property
    def variables(self):
        """As Keras', on JAX with the states: its compiled steps keep only what is listed here. Only
        what is in `weights` is saved."""
        keeps = keras.backend.backend() == "jax" and self.stateful and self.states is not None
        return [*super().variables, *self.states] if keeps else super().variables

    def build(self, sequences_shape, initial_state_shape=None):
        # Keras looks a policy map up by the layer's name scope each time; once is enough.
        if isinstance(self._dtype_policy, keras.dtype_policies.DTypePolicyMap):
            self._dtype_policy = self._dtype_policy[self._path]
        super().build(readable_shape(self, sequences_shape), initial_state_shape)

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        sequences_shape = readable_shape(self, sequences_shape)
        return super().compute_output_shape(sequences_shape, initial_state_shape)

    def __call__(self, sequences, initial_state=None, mask=None, *, lengths=None, **kwargs):
        # Errors are raised here because Keras rewrites what `call` raises.
        sequences, prepared = self._prepare(sequences, initial_state, mask, lengths)
        return super().__call__(sequences, **prepared, **kwargs)

    def stateless_call(
        self,
        trainable_variables,
        non_trainable_variables,
        sequences,
        initial_state=None,
        mask=None,
        *,
        lengths=None,
        **kwargs,
    ):
        """As Keras', which calls `call` itself."""
        sequences, prepared = self._prepare(sequences, initial_state, mask, lengths)
        sequences = ops.convert_to_tensor(sequences, self.compute_dtype)
        if "mask" in prepared:
            prepared["mask"] = ops.convert_to_tensor(prepared["mask"], "bool")
        variables = trainable_variables, non_trainable_variables
        return super().stateless_call(*variables, sequences, **prepared, **kwargs)

    def _prepare(self, sequences, initial_state, mask, lengths):
        """The input as `call` takes it, and the keywords for what comes with it."""
        prepared = prepare(self, sequences, mask=mask, lengths=lengths, initial_state=initial_state)
        if prepared.corrections != self.corrections:
            self.corrections = prepared.corrections
        # Absent arguments stay absent: Keras' call is faster without keywords.
        keywords = {"initial_state": prepared.initial_state, "mask": prepared.mask}
        return prepared.sequences, {n: v for n, v in keywords.items() if v is not None}

    def call(self, sequences, initial_state=None, mask=None, training=False):
        if sequences.shape[2:] != self.cell.kernel.shape[:1]:
            # `TimeDistributed` comes here without `__call__`.
            sequences, mask, initial_state, _ = prepare(
                self, sequences, mask=mask, initial_state=initial_state
            )
        if len(getattr(mask, "shape", ())) == 1:
            mask = None  # `TimeDistributed`'s, of whole sequences: it masks what they give itself
        if mask is None and self.mask_value is not None:  # in `TimeDistributed`
            mask = from_value(sequences, self.mask_value, self.variable_dtype)
        if initial_state is not None:
            initial_state = [_for_each(state, sequences) for state in initial_state]
        if sequences.shape[0] == 0 or sequences.shape[1] == 0:
            return self._call_empty(sequences, initial_state, training)
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def _call_empty(self, sequences, initial_state, training):
        """The outputs for no sequences or no steps, neither of which Keras' loop can run.

        One masked step changes no state; the output of one sequence too many is dropped.
        """
        batch, steps, features = ops.shape(sequences)
        none = sequences.shape[0] == 0
        shape = (1 if none else batch, steps or 1)
        outputs = super().call(
            ops.zeros((*shape, features), sequences.dtype),
            initial_state=None if none else initial_state,
            mask=ops.zeros(shape, "bool"),
            training=training,
        )
        y, *states = outputs if self.return_state else (outputs,)
        if self.return_sequences:
            y = y[:, :steps]
        if none:
            y, *states = (tensor[:0] for tensor in (y, *states))
        return (y, *states) if self.return_state else y

    def inner_loop(self, sequences, initial_state, mask, training=False):
        try:
            route = choose_route(self, sequences)
            if route != self._route:
                self._route = route
            if route is not FUSED:
                return super().inner_loop(sequences, initial_state, mask, training=training)
            return fused_loop(self, sequences, initial_state, mask, training)
        except BaseException:  # Keras would drop them only after a call that succeeds
            self._maybe_reset_dropout_masks(self.cell)
            raise

    def get_config(self):
        return {
            **super().get_config(),
            "use_cudnn": self.use_cudnn,
            "implementation": self.cell.implementation,
            "kernel": self.kernel,
            "validate": self.validate,
            "mask_value": self.mask_value,
        }


def _for_each(state, sequences):
    """A state (1, units) as (batch, units): the kernel does not broadcast, nor do Keras' loops in
    graphs."""
    batch = sequences.shape[0]
    if state.shape[0] != 1 or batch == 1:
        return state
    return ops.broadcast_to(state, (ops.shape(sequences)[0], state.shape[1]))


def _one_of(layer, name, value, choices):
    if value not in choices:
        expected = f"{name} one of {', '.join(map(repr, choices))}"
        fix = f'{name}="auto"'
        raise OptionError("PYL144", layer=layer.name, expected=expected, got=repr(value), fix=fix)
    return value
