"""What pylstm runs with here: versions, libraries, kernels."""

import importlib.metadata
import os
import pathlib
import platform

import keras

from pylstm._gpus import find_gpus
from pylstm._library import built_with, load_core
from pylstm._version import __version__
from pylstm.errors import BackendLoadError, DeviceError
from pylstm.ops import KERAS_BACKENDS, load_ops

# Instruction sets that the CPU kernels are compiled for, and what they need.
CPU_KERNELS = {
    "amx_bf16": "AMX for bfloat16, AVX-512 F, BW, DQ, VL and BF16",
    "avx512_bf16": "AVX-512 F, BW, DQ, VL and BF16",
    "avx512": "AVX-512 F, BW, DQ and VL",
    "avx2": "AVX2 and FMA",
    "baseline": "nothing more than the platform has",
}


def show_config() -> None:
    """Prints versions, what the libraries were built with, the devices, and for each kernel whether
    it can run here, and if not, why."""
    for title, rows in (("versions", _versions()), ("kernels", _kernels())):
        print(title)
        for name, text in rows:
            text = str(text).replace("\n", "\n" + " " * 18)
            print(f"  {name:15} {text}")


def _versions():
    yield "pylstm", f"{__version__}  ({pathlib.Path(__file__).parent})"
    yield "python", f"{platform.python_version()}  ({platform.platform()})"
    yield "numpy", _version("numpy")
    yield "keras", f"{_version('keras')}  (on {keras.backend.backend()})"
    yield "tensorflow", _tensorflow()
    yield (
        "built with",
        (
            f"TensorFlow {built_with('TENSORFLOW_VERSION')}, "
            f"{built_with('COMPILER')}, CUDA {built_with('CUDA_VERSION')}"
        ),
    )
    yield "processor", f"{_processor()}, {len(os.sched_getaffinity(0))} cores"


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _tensorflow():
    try:
        import tensorflow as tf
    except ImportError as error:
        return error
    abi = f"C++11 ABI {tf.sysconfig.CXX11_ABI_FLAG}"
    return f"{tf.__version__}  ({abi}; GPUs: {', '.join(_gpus(tf)) or 'none'})"


def _gpus(tf):
    details = tf.config.experimental.get_device_details
    return [
        details(gpu).get("device_name", gpu.name) for gpu in tf.config.list_physical_devices("GPU")
    ]


def _processor():
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _kernels():
    try:
        core = load_core()
    except BackendLoadError as error:
        yield "cpu", error
    else:
        runnable = core.isas()
        selected = {}
        try:
            selected = {core.selected_isa("bfloat16"): "selected for bfloat16"}
            selected[core.selected_isa("float32")] = "selected"
        except ValueError as error:  # PYLSTM_ISA names none that can run
            yield "PYLSTM_ISA", error
        for isa, needs in CPU_KERNELS.items():
            state = selected.get(isa, "can run")
            yield f"cpu {isa}", state if isa in runnable else f"cannot run: needs {needs}"
        quota = core.quota_cores()
        if quota is not None:
            yield "cpu threads", f"at most {quota}: the container's CPU quota"
    backend = keras.backend.backend()
    if backend in KERAS_BACKENDS:
        try:
            yield f"{backend} op", f"for {' and '.join(load_ops(backend).devices())}"
        except BackendLoadError as error:
            yield f"{backend} op", error
    yield "cuda", _cuda()
    yield "gpu last ran", _gpu_last_ran()


def _cuda():
    version = built_with("CUDA_VERSION")
    if version is None:
        return "cannot run: built without the CUDA kernels"
    try:
        gpus = find_gpus()
    except (BackendLoadError, DeviceError) as error:
        needs = f"; needs {error.expected}" if error.expected else ""
        return f"cannot run: {error.got}{needs}"
    return "\n".join(
        f"{gpu.name}: cannot run: {gpu.obstacle}" if gpu.obstacle else f"{gpu.name}: can run"
        for gpu in gpus
    )


def _gpu_last_ran():
    """Which sources a GPU last ran, and whether they are those that this was built from."""
    try:
        from pylstm import _gpu_run
    except ImportError:  # nothing was built
        return "unknown"
    last, csrc = _gpu_run.LAST, _gpu_run.CSRC
    if last is None:
        return f"never; csrc here is {csrc}"
    here = "as here" if last["csrc"] == csrc else f"not {csrc}, which is here"
    return f"csrc {last['csrc']} ({here}) on {last['device']}, {last['date'][:10]}"
