"""Targets per step beside an output that has a fixed number of steps, as behind `RepeatVector`."""

from pylstm.models.data.columns import Sequences, Stacked, columns_of
from pylstm.models.data.output_lengths import output_lengths
from pylstm.models.data.separating import map_inputs
from pylstm.models.graph.outputs import map_targets


def with_output_steps(model, columns, shapes):
    """`Columns` whose targets per step are padded to the number of steps of such an output.

    These targets are `Sequences`, and so is x: lists that happen to be equally long, too, since
    Keras wants sample weights in all batches if those of other lengths have them.

    Args:
        model: A Keras model.
        columns: `Columns`, with targets in the structure of the outputs.
        shapes: The shapes of the model's outputs, by name or number.
    """
    fixed = {name: shape[1] for name, shape in shapes.items() if shape[2:] and shape[1]}
    if not fixed or not any(isinstance(y, (Sequences, Stacked)) for y in columns_of(columns.y)):
        return columns
    x = map_inputs(model, _as_sequences, columns.x)
    known = output_lengths(model, x, shapes)
    sizes = {name: fixed.get(name) if known.get(name, ()) is None else None for name in shapes}
    inputs = {(*column.lengths,) for column in columns_of(x) if isinstance(column, Sequences)}
    has_lists = any(isinstance(column, Sequences) for column in columns_of(columns.x))

    def pad_to(target, size):
        if size is None or not isinstance(target, (Sequences, Stacked)):
            return target
        if isinstance(target, Stacked):  # in which a forecast has its own number of steps
            steps = target.shape[1:2]
            if not (has_lists if steps == (size,) else steps * target.size in inputs):
                return target
        return Sequences(list(target.values), size)

    y = map_targets(sizes, pad_to, columns.y)
    is_padded = any(getattr(target, "steps", None) for target in columns_of(y))
    return columns._replace(x=x, y=y) if is_padded else columns


def _as_sequences(column, declared):
    is_list = isinstance(column, Stacked) and len(column.shape) > 1
    is_list &= len(column.shape) > 2 or (declared is not None and declared[1:2] == (None,))
    return Sequences(list(column.values)) if is_list else column
