"""`pylstm.Sequential` and `pylstm.Model`."""

import keras

from pylstm.errors import RankError, StructureError
from pylstm.inputs.contract import Known
from pylstm.inputs.explain import last_step_only
from pylstm.keras_graph import Functional as KerasFunctional
from pylstm.keras_graph import functional_init_arguments, last_step_layer, nodes_of
from pylstm.models.graph.mask_passing import MaskPassing
from pylstm.models.sequence_inputs import SequenceInputs


@keras.saving.register_keras_serializable(package="pylstm")
class Sequential(SequenceInputs, keras.Sequential):
    """`keras.Sequential` that takes lists of sequences; see `SequenceInputs`.

        model = pylstm.Sequential([pylstm.LSTM(64), keras.layers.Dense(9, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(recordings, labels, epochs=20, validation_split=0.2)

    `keras.models.clone_model` makes a `keras.Sequential` of it, as of every subclass; copy it
    by `pylstm.Sequential.from_config(model.get_config())`.
    """

    def build(self, input_shape=None):
        layers = self._layers
        try:
            super().build(input_shape)
        except (RankError, StructureError) as error:
            error = _naming_what_is_in_front(error, self._layers)
            self._layers = layers  # without Keras' input for this shape, so that others may follow
            raise error from None
        if graph := self._functional:
            self._functional = MaskPassing(graph._inputs_struct, graph._outputs_struct)


@keras.saving.register_keras_serializable(package="pylstm")
class Model(SequenceInputs, keras.Model):
    """`keras.Model` that takes lists of sequences; see `SequenceInputs`.

    `pylstm.Model(inputs, outputs)` makes a functional model; a class derives from it as from
    `keras.Model`.
    """

    def __new__(cls, *args, **kwargs):
        if cls is Model and functional_init_arguments(args, kwargs):
            cls = Functional
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        if functional_init_arguments(args, kwargs):
            _derive_from_functional(type(self))
        super().__init__(*args, **kwargs)


@keras.saving.register_keras_serializable(package="pylstm")
class Functional(Model, MaskPassing):
    """What `pylstm.Model(inputs, outputs)` makes."""


def _naming_what_is_in_front(error, layers):
    """The error of one of a stack of layers, naming a layer in front that gives its last step only.

    `keras.layers.Bidirectional` tells those that it wraps no more than the shape.
    """
    names = [layer.name for layer in layers]
    if error.layer not in names[1:]:
        return error
    x = nodes_of(layers[names.index(error.layer) - 1])[-1].outputs[0]
    previous = last_step_layer(x)
    if previous is None:
        return error
    return last_step_only(previous, x.shape, x.dtype, Known()).at(error.layer)


def _derive_from_functional(cls):
    """Puts `Functional` in place of `Model`, as Keras does with its own, below subclasses.

    Returns:
        What stands in place of `cls` among the bases of a class.
    """
    if cls is Model:
        return Functional
    if issubclass(cls, Model) and not issubclass(cls, KerasFunctional):
        cls.__bases__ = tuple(map(_derive_from_functional, cls.__bases__))
    return cls
