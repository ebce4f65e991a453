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
    """Seconds that the last epoch of training took, validation not counted."""

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_test_begin(self, logs=None):
        keras.ops.convert_to_numpy(self.model.weights[0])  # waits for JAX, which runs behind
        self.seconds = time.perf_counter() - self._start


class Run:
    """A model on `lstm`, and for each epoch of its training the test accuracy and the seconds."""

    def __init__(self, lstm, train: Split, test: Split, seed: int):
        self._train, self._test, self._seed = train, test, seed
        self._timer = EpochTimer()
        self.accuracies, self.seconds = [], []
        keras.utils.set_random_seed(seed)  # of initializers and noise
        self.model = pylstm.Sequential(
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
        self.model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])

    def train_an_epoch(self):
        # The same batches and, in the first epoch, weights for both.
        keras.utils.set_random_seed(self._seed + len(self.seconds))
        with native_logs_hidden():
            history = self.model.fit(
                self._train.recordings,
                self._train.speakers,
                batch_size=BATCH_SIZE,
                validation_data=(self._test.recordings, self._test.speakers),
                callbacks=[self._timer],
                verbose=0,
            )
        self.accuracies += history.history["val_accuracy"]
        self.seconds.append(self._timer.seconds)

    @property
    def typical_milliseconds(self) -> float:
        """The median of the epochs after the first, which also builds the graph."""
        return 1e3 * float(np.median(self.seconds[1:]))


def main() -> int:
    options = _parse()
    train, test = standardized(*load())
    print(
        f"Japanese Vowels: {len(train.recordings)} recordings to learn from, "
        f"{len(test.recordings)} to test, as a list of (T_i, 12) arrays, "
        f"T_i from {min(map(len, test.recordings))} to {max(map(len, test.recordings))}.\n"
    )
    lstms = {"pylstm.LSTM": pylstm.LSTM, "keras.layers.LSTM": keras.layers.LSTM}
    runs = {name: Run(lstm, train, test, options.seed) for name, lstm in lstms.items()}
    ours, stock = runs.values()
    print_row("test accuracy", *runs)
    for epoch in range(1, EPOCHS + 1):
        for one in (ours, stock):  # in turns: the machine's speed may change
            one.train_an_epoch()
        print_row(f"epoch {epoch}/{EPOCHS}", *(f"{r.accuracies[-1]:.3f}" for r in (ours, stock)))
    print_row("an epoch takes", *(f"{r.typical_milliseconds:.0f} ms" for r in (ours, stock)))
    stock.model.set_weights(ours.model.get_weights())
    difference = largest_difference(ours.model, stock.model, test.recordings)
    draw(runs, options.picture)
    return report(ours, stock, difference, options.picture)


def print_row(*cells):
    print("".join(f"{cell:<20}" for cell in cells).rstrip(), flush=True)


def standardized(train: Split, test: Split) -> tuple[Split, Split]:
    """Scales each coefficient by the mean and deviation of the training frames."""
    frames = np.concatenate(train.recordings)
    mean, deviation = frames.mean(0), frames.std(0)

    def scale(split):
        return split._replace(recordings=[(r - mean) / deviation for r in split.recordings])

    return scale(train), scale(test)


def largest_difference(ours, stock, recordings) -> float:
    predictions = [model.predict(recordings, verbose=0) for model in (ours, stock)]
    return float(np.abs(predictions[0] - predictions[1]).max())


def draw(runs: dict[str, Run], path: Path):
    """Draws test accuracy and training time by epoch."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    colors = dict(zip(runs, ("#d1495b", "#4a5560"), strict=True))
    for (name, one), style in zip(runs.items(), ("-", "--"), strict=True):  # may coincide
        epochs = range(1, len(one.accuracies) + 1)
        left.plot(epochs, one.accuracies, style, color=colors[name], label=name)
    left.axhline(LEAST_ACCURACY, color="black", linewidth=0.8, linestyle=":")
    left.set(title="Test accuracy", xlabel="epoch")
    left.legend(frameon=False, loc="lower right")
    milliseconds = [one.typical_milliseconds for one in runs.values()]
    bars = right.barh(list(runs), milliseconds, color=list(colors.values()))
    right.bar_label(bars, fmt="%.0f ms", padding=3)
    right.invert_yaxis()
    right.margins(x=0.15)
    right.set(title="Training time of an epoch (median)", xlabel="milliseconds")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def report(ours: Run, stock: Run, difference: float, picture: Path) -> int:
    """Prints the outcome; returns the exit code."""
    speedup = stock.typical_milliseconds / ours.typical_milliseconds
    print(f"\npylstm trains {speedup:.1f} times as fast.")
    print(f"Largest difference of the two models' outputs, same weights: {difference:.1e}")
    print(f"Picture: {picture}")
    layer = next(layer for layer in ours.model.layers if isinstance(layer, pylstm.LSTM))
    failures = []
    if layer.path != "fused":
        failures.append(f"pylstm.LSTM did not run its fused kernel: {layer.path_reason}")
    if not ours.accuracies[-1] >= LEAST_ACCURACY:
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
