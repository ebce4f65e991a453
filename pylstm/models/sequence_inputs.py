"""What pylstm's models add to Keras': data that Keras' trainer refuses."""

from typing import Any

import keras

from pylstm.errors import PylstmError
from pylstm.models.data.batch_stream import check_is_no_list_of_sequences, read_batches
from pylstm.models.data.class_weights import weigh_classes
from pylstm.models.data.dataset import SequenceDataset
from pylstm.models.data.entering import enter_batch, enter_model
from pylstm.models.data.feeding import by_length, feed, feed_batch, takes_ragged
from pylstm.models.data.reading import is_columns, read_batch, read_data, read_held_out
from pylstm.models.foreign_errors import other_sizes_of, readable_errors
from pylstm.models.graph.mask_passing import MaskPassing
from pylstm.models.graph.outputs import Masked
from pylstm.models.kept_values import kept_values, note_values
from pylstm.models.traces import make_by_rank
from pylstm.models.unpadding import are_by_sample, as_lists, may_have_steps, without_padding


class SequenceInputs:
    """What pylstm's models add to Keras': data that its adapter refuses.

    `fit`, `evaluate`, `predict`, the `*_on_batch` methods and the call itself also take lists
    of arrays of equal or different lengths, nested lists, object arrays, `tf.RaggedTensor`,
    pandas Series of arrays, `PaddedBatch`, and generators and `PyDataset`s of these, as x and as
    targets and weights per step. `fit` puts sequences of similar lengths in a batch. Each
    layer sees the Keras mask, as after `keras.layers.Masking`. In a graph, `Embedding` layers,
    convolutions and poolings of steps, and pointwise operations of `keras.ops` pass it on, too, and
    what would lose it is an error.
    Arrays, a `tf.data.Dataset` and a `PyDataset` of arrays go to Keras as they are.

    Where a model has several inputs, x is a dict, or a tuple or list with one entry for each.
    A subclassed model, whose inputs Keras does not know, takes several inputs as a tuple.

    Targets per step come to `train_step` with a sample weight, 0 in the padding: a custom one
    unpacks it by `x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)`. Its x is for
    `self(x)`: sequences of several lengths are a `tf.RaggedTensor`, but a `PaddedBatch` on other
    backends, under `jit_compile=True` and on several replicas. A custom `predict_step` calls
    `self(x)`, too: its base gives outputs per step without padding, in a form for `predict` alone.

    Raises:
        PylstmError: The data cannot be read, or can be read in several ways.
    """

    def __call__(self, *args, **kwargs):
        args, kwargs = self._enter(args, kwargs)
        try:
            return super().__call__(*args, **kwargs)
        except (PylstmError, Warning):  # which filters make an error
            raise
        except Exception as error:
            differ = other_sizes_of(self, next(iter((*args, *kwargs.values())), None))
            if differ is None:
                raise
            raise differ from error

    def stateless_call(self, trainable_variables, non_trainable_variables, *args, **kwargs) -> Any:
        """As Keras', which calls `call` itself."""
        args, kwargs = self._enter(args, kwargs)
        variables = trainable_variables, non_trainable_variables
        return super().stateless_call(*variables, *args, **kwargs)

    def _enter(self, args, kwargs):
        """The arguments of a call, the first of which, the model's input, may come by its name."""
        if args:
            return (enter_model(self, args[0]), *args[1:]), kwargs
        name = next(iter(self._call_signature.parameters), None)
        if name in kwargs:
            kwargs = {**kwargs, name: enter_model(self, kwargs[name])}
        return args, kwargs

    compute_mask = MaskPassing.compute_mask

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`."""
        data = read_data(self, x, y, sample_weight)
        held_out = None
        if validation_data is not None and is_columns(validation_data):
            held_out = read_held_out(self, validation_data, y is not None)
        elif validation_data is not None:
            validation_data = read_batches(self, validation_data)
        if data is None:
            x = read_batches(self, x)
            if isinstance(x, SequenceDataset):
                columns, class_weight = weigh_classes(self, x.columns, class_weight)
                x = x.with_columns(columns)
        else:
            if validation_split and validation_data is None:
                data, held_out = data.split(1 - validation_split)
            data, class_weight = weigh_classes(self, data, class_weight)
            x, y, sample_weight = feed(self, data, batch_size, steps_per_epoch, bool(shuffle))
        if held_out is not None:
            size = validation_batch_size or batch_size
            validation_data = feed(self, held_out, size, validation_steps)
        iterates = data is None or (validation_data is not None and held_out is None)
        with kept_values(self), readable_errors(iterates):
            return super().fit(
                x,
                y,
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle and not isinstance(x, SequenceDataset),
                class_weight=class_weight,
                sample_weight=sample_weight,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                validation_freq=validation_freq,
            )

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        **kwargs,
    ) -> float | list[float] | dict[str, float]:
        """As `keras.Model.evaluate`, with the private keywords that `fit` passes."""
        data = read_data(self, x, y, sample_weight)
        if data is None:
            x = read_batches(self, x)
        else:
            x, y, sample_weight = feed(self, data, batch_size, steps)
        with kept_values(self), readable_errors(data is None):
            return super().evaluate(
                x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict, **kwargs
            )

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None) -> Any:
        """As `keras.Model.predict`.

        Returns:
            NumPy arrays, in the order of x. Where the sequences differ in length, an output
            that has steps, and so a mask, comes as a list of N arrays (T_i, ...).
        """
        data = ordered = read_data(self, x)
        order = None
        if data is not None and data.size == 0:
            return self.predict_on_batch(x)  # Keras' loop has no first batch to begin with.
        if data is None:
            x = read_batches(self, x, predicts=True)
        else:
            if steps is None and not callbacks:  # which see the batches in turn
                ordered, order = by_length(self, data, batch_size)
            x, _, _ = feed(self, ordered, batch_size, steps)
        with kept_values(self), readable_errors(data is None):
            outputs = super().predict(x, batch_size, verbose, steps, callbacks)
            if order is not None and not are_by_sample(outputs, data.size):
                # Only in the user's own order is it known what such an output belongs to.
                x, order = feed(self, data, batch_size)[0], None
                outputs = super().predict(x, batch_size, verbose)
        return as_lists(outputs, order, in_batches=data is None)

    def train_on_batch(
        self, x, y=None, sample_weight=None, class_weight=None, return_dict=False
    ) -> Any:
        """As `keras.Model.train_on_batch`."""
        data = read_batch(self, x, y, sample_weight)
        data, class_weight = weigh_classes(self, data, class_weight)
        x, y, sample_weight = feed_batch(self, data)
        return super().train_on_batch(x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False) -> Any:
        """As `keras.Model.test_on_batch`."""
        data = read_batch(self, x, y, sample_weight)
        x, y, sample_weight = feed_batch(self, data)
        return super().test_on_batch(x, y, sample_weight, return_dict)

    def predict_on_batch(self, x) -> Any:
        """As `keras.Model.predict_on_batch`; returns lists where `predict` does."""
        data = read_batch(self, x)
        outputs = super().predict_on_batch(feed_batch(self, data)[0])
        return as_lists(outputs)

    def make_train_function(self, force=False):
        """As Keras'."""
        make_by_rank(self, "train_function", super().make_train_function, force)

    def make_test_function(self, force=False):
        """As Keras'."""
        make_by_rank(self, "test_function", super().make_test_function, force)

    def make_predict_function(self, force=False):
        """As Keras'."""
        make_by_rank(self, "predict_function", super().make_predict_function, force)

    def _enter_batch(self, batch, masks_lists=False):
        # Keras hands on what a torch DataLoader yields; `read_batches` has seen all others.
        check_is_no_list_of_sequences(self, "DataLoader", batch)
        return enter_batch(self, batch, masks_lists)

    def train_step(self, *state_and_data):
        """As Keras', which weighs the loss of a batch by the size of its first array."""
        *state, batch = state_and_data
        return super().train_step(*state, self._enter_batch(batch))

    def test_step(self, *state_and_data):
        """As `train_step`."""
        *state, batch = state_and_data
        return super().test_step(*state, self._enter_batch(batch))

    def predict_step(self, *state_and_data):
        """As Keras', without padding, so that batches of different lengths can be joined."""
        *state, batch = state_and_data
        # Outputs by step of lists are `Rows`, whether their lengths are equal by chance or not.
        batch = self._enter_batch(batch, masks_lists=may_have_steps(self))
        outputs = super().predict_step(*state, batch)
        x = keras.utils.unpack_x_y_sample_weight(batch)[0]
        if keras.backend.backend() == "jax":  # whose step returns the model's state, too
            return without_padding(self, outputs[0], x, at_once=False), outputs[1]
        at_once = keras.backend.backend() == "torch" or takes_ragged(self)
        return without_padding(self, outputs, x, at_once)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> Any:
        """As Keras', which on torch scales the weights in place, before the metrics read them."""
        if keras.backend.backend() == "torch":
            sample_weight = keras.tree.map_structure(
                lambda weights: None if weights is None else keras.ops.copy(weights), sample_weight
            )
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_loss_and_updates(self, *args, **kwargs):
        """As Keras', on JAX, whose gradient gives outputs back without their masks."""
        loss, (unscaled_loss, y_pred, *state) = super().compute_loss_and_updates(*args, **kwargs)
        return loss, (unscaled_loss, Masked.of(y_pred), *state)

    def _update_metrics_variables(self, variables, loss, x, y, y_pred, sample_weight):
        y_pred = y_pred.restored() if isinstance(y_pred, Masked) else y_pred
        return super()._update_metrics_variables(variables, loss, x, y, y_pred, sample_weight)

    def _purge_model_variables(self, **parts):
        note_values(self)
        super()._purge_model_variables(**parts)

    @property
    def jit_compile(self):
        """As Keras', but False on torch: `torch.compile` loses the masks that tensors carry."""
        return keras.backend.backend() != "torch" and super().jit_compile

    @jit_compile.setter
    def jit_compile(self, value):
        super(SequenceInputs, type(self)).jit_compile.fset(self, value)
