"""Keeps a model's values after an error: on JAX, Keras' loops take them out while they run."""

import contextlib


@contextlib.contextmanager
def kept_values(model):
    """Gives a model back what a loop has taken out of it, where an error ends the loop."""
    try:
        yield
    except BaseException:
        if "_taken" in model.__dict__:
            model.jax_state_sync()  # what the last finished step has returned
            model._jax_state = None
            for variable, value in model._taken:
                if variable._value is None:
                    variable._value = value
        raise
    finally:
        model.__dict__.pop("_taken", None)


def note_values(model):
    """Notes what is about to be taken. The values of a step that is done are freed all the same."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *model.metrics_variables, *getattr(optimizer, "variables", ())]
    # Straight into the instance: it is no state that Keras should track.
    model.__dict__["_taken"] = [(variable, variable._value) for variable in variables]
