"""Lists of sequences on several replicas of `tf.distribute`, in a process that has them."""

import os
import subprocess
import sys

PROGRAM = """
import keras, numpy as np, tensorflow as tf
import pylstm

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def make():
    model = pylstm.Sequential([keras.Input((None, 3)), pylstm.LSTM(4), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model

rng = np.random.default_rng(0)
x = [rng.normal(size=(steps, 3)).astype("float32") for steps in rng.integers(1, 7, size=32)]
y = rng.normal(size=(32, 1))
with strategy.scope():
    several = make()
one = make()
one.set_weights(several.get_weights())
losses = [
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"]
    for model in (several, one)
]
np.testing.assert_allclose(*losses, rtol=1e-5)
predictions = [model.predict(x, verbose=0) for model in (several, one)]
np.testing.assert_allclose(*predictions, atol=1e-6)
batches = tf.data.Dataset.from_tensor_slices((pylstm.ragged(x), y)).batch(8)
np.testing.assert_allclose(several.predict(batches, verbose=0), predictions[1], atol=1e-6)
for run in (several.fit, several.evaluate):
    try:
        run(batches, verbose=0)
    except pylstm.errors.RaggedError as error:
        assert "replicas" in error.what and error.fix.startswith("pylstm.dataset(x, y)")
    else:
        raise AssertionError("no error")
print("ran", several.layers[0].path)
"""


def test_lists_on_several_replicas():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == ["ran fused"], done.stderr
