"""`python -m benchmarks.demo`: tell nine speakers apart, from plain recordings, twice.

Trains the same model from the same weights on the same batches, once with `pylstm.LSTM` and once
with `keras.layers.LSTM`. Fails where the accuracy or the agreement of the two is not as it should.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.data.japanese_vowels import N_SPEAKERS, Split, load
from benchmarks.quiet import native_logs_hidden

with native_logs_hidden():
    import keras

    import pylstm

UNITS, EPOCHS, BATCH_SIZE, LEARNING_RATE = 64, 20, 16, 0.005
LEAST_ACCURACY = 0.96
LARGEST_DIFFERENCE = 1e-5  # between the two models' probabilities, with the same weights


class EpochTimer(keras.callbacks.Callback):
    """Seconds that each epoch of training took, validation not counted."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.seconds.append(time.perf_counter() - self._start)


def main() -> int:
    options = _parse()
    train, test = standardized(*load())
    print(
        f"Japanese Vowels: {len(train.recordings)} recordings to learn from, "
        f"{len(test.recordings)} to test, as a list of (T_i, 12) arrays, "
        f"T_i from {min(map(len, test.recordings))} to {max(map(len, test.recordings))}."
    )
    ours, our_curve, our_seconds = run("pylstm", pylstm.LSTM, train, test, options.seed)
    stock, stock_curve, stock_seconds = run("Keras", keras.layers.LSTM, train, test, options.seed)
    stock.set_weights(ours.get_weights())
    difference = largest_difference(ours, stock, test.recordings)
    curves = {"pylstm.LSTM": our_curve, "keras.layers.LSTM": stock_curve}
    seconds = {"pylstm.LSTM": our_seconds, "keras.layers.LSTM": stock_seconds}
    draw(curves, seconds, options.picture)
    layer = next(layer for layer in ours.layers if isinstance(layer, pylstm.LSTM))
    return report(layer, curves, seconds, difference, options.picture)


def standardized(train: Split, test: Split) -> tuple[Split, Split]:
    """Scales each coefficient by the mean and deviation of the training frames."""
    frames = np.concatenate(train.recordings)
    mean, deviation = frames.mean(0), frames.std(0)

    def scale(split):
        return split._replace(recordings=[(r - mean) / deviation for r in split.recordings])

    return scale(train), scale(test)


def run(name, lstm, train, test, seed):
    """Trains a model on `lstm`; returns it, its test accuracies and its seconds, by epoch."""
    print(f"\n{name}: LSTM({UNITS}), {EPOCHS} epochs")
    keras.utils.set_random_seed(seed)  # the same initial weights and batches for both
    model = pylstm.Sequential(
        [
            keras.layers.GaussianNoise(0.3),
            lstm(UNITS),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(N_SPEAKERS, activation="softmax"),
        ]
    )
    n_steps = EPOCHS * math.ceil(len(train.speakers) / BATCH_SIZE)
    decay = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, n_steps)
    optimizer = keras.optimizers.Adam(decay)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    timer = EpochTimer()
    with native_logs_hidden():
        history = model.fit(
            train.recordings,
            train.speakers,
            batch_size=BATCH_SIZE,
            epochs=EPOCHS,
            validation_data=(test.recordings, test.speakers),
            callbacks=[timer],
        )
    return model, history.history["val_accuracy"], timer.seconds


def largest_difference(ours, stock, recordings) -> float:
    predictions = [model.predict(recordings, verbose=0) for model in (ours, stock)]
    return float(np.abs(predictions[0] - predictions[1]).max())


def draw(curves: dict, seconds: dict, path: Path):
    """Draws test accuracy and training time by epoch."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    colors = dict(zip(curves, ("#d1495b", "#4a5560"), strict=True))
    for (name, curve), style in zip(curves.items(), ("-", "--"), strict=True):  # may coincide
        left.plot(range(1, len(curve) + 1), curve, style, color=colors[name], label=name)
    left.axhline(LEAST_ACCURACY, color="black", linewidth=0.8, linestyle=":")
    left.set(title="Test accuracy", xlabel="epoch")
    left.legend(frameon=False, loc="lower right")
    milliseconds = [1e3 * typical(s) for s in seconds.values()]
    bars = right.barh(list(seconds), milliseconds, color=list(colors.values()))
    right.bar_label(bars, fmt="%.0f ms", padding=3)
    right.invert_yaxis()
    right.margins(x=0.15)
    right.set(title="Training time of an epoch (median)", xlabel="milliseconds")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def typical(seconds) -> float:
    """The median of the epochs after the first, which also builds the graph."""
    return float(np.median(seconds[1:]))


def report(layer, curves, seconds, difference, picture) -> int:
    """Prints the outcome; returns the exit code."""
    times = [typical(s) for s in seconds.values()]
    print(f"\n{'':20}{'test accuracy':>14}{'an epoch':>12}")
    for name, one in zip(curves, times, strict=True):
        print(f"{name:20}{curves[name][-1]:>14.3f}{1e3 * one:>9.0f} ms")
    print(f"\npylstm trains {times[1] / times[0]:.1f} times as fast.")
    print(f"Largest difference of the two models' outputs, same weights: {difference:.1e}")
    print(f"Picture: {picture}")
    failures = []
    if layer.path != "fused":
        failures.append(f"pylstm.LSTM did not run its fused kernel: {layer.path_reason}")
    if not curves["pylstm.LSTM"][-1] >= LEAST_ACCURACY:
        failures.append(f"the test accuracy is below {LEAST_ACCURACY}")
    if not difference <= LARGEST_DIFFERENCE:
        failures.append(f"the outputs differ by more than {LARGEST_DIFFERENCE}")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _parse():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, default=Path("build/demo.png"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
