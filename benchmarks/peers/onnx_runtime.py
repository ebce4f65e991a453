"""ONNX Runtime's LSTM operator, its outputs bound to memory that stays allocated."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.machine import CORES
from benchmarks.peers import Computation

_KERAS_TO_ONNX = [0, 3, 1, 2]  # i, f, c, o -> i, o, f, c


def versions():
    return {"onnxruntime": onnxruntime.__version__}


def refusal(case, mode):
    if mode == "training":
        return "inference only"
    if case.dtype != "float32":
        return "float32 only"
    if case.padding == "left":
        return "no left padding"
    return None


def prepare(problem, mode):
    case = problem.case
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    model = _make_model(problem).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, array in _inputs(problem).items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    shapes = _output_shapes(case)
    for name, shape in shapes.items():
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32)
        binding.bind_ortvalue_output(name, value)

    def results(_):
        y, *states = (value.numpy() for value in binding.get_outputs())
        y = y.transpose(2, 0, 1, 3).reshape(case.batch, case.time, -1)
        return {"y": y, **{n: s[0] for n, s in zip("hc", states, strict=False)}}

    return Computation(lambda: session.run_with_iobinding(binding), results)


def _inputs(problem):
    inputs = {"x": np.ascontiguousarray(problem.x.swapaxes(0, 1))}
    if problem.lengths is not None:
        inputs["lengths"] = problem.lengths.astype(np.int32)
    if problem.case.streaming:
        inputs |= {"h0": problem.h0[None], "c0": problem.c0[None]}
    return inputs


def _output_shapes(case):
    shapes = {"y": [case.time, case.directions, case.batch, case.units]}
    if case.streaming:
        shapes |= {state: [1, case.batch, case.units] for state in "hc"}
    return shapes


def _make_model(problem):
    case = problem.case
    constants = {
        "W": np.stack([_gates(w.kernel) for w in problem.weights]),
        "R": np.stack([_gates(w.recurrent_kernel) for w in problem.weights]),
    }
    if case.use_bias:
        second = np.zeros(4 * case.units, np.float32)
        constants["B"] = np.stack([np.r_[_gates(w.bias), second] for w in problem.weights])
    inputs = _inputs(problem)
    present = {*inputs, *constants}
    order = ["x", "W", "R", "B", "lengths", "h0", "c0"]
    outputs = _output_shapes(case)
    activation = {"tanh": "Tanh", "relu": "Relu"}[case.activation]
    node = helper.make_node(
        "LSTM",
        [name if name in present else "" for name in order],
        list(outputs),
        hidden_size=case.units,
        direction="bidirectional" if case.bidirectional else "forward",
        activations=["Sigmoid", activation, activation] * case.directions,
    )
    graph = helper.make_graph(
        [node],
        "lstm",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in inputs.items()
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 14)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=onnx.IR_VERSION_2021_7_30)


def _gates(weights):
    """(…, 4H) in Keras' gate order -> (4H, …) in ONNX's."""
    gates = np.split(weights, 4, axis=-1)
    return np.ascontiguousarray(np.concatenate([gates[g] for g in _KERAS_TO_ONNX], -1).T)
