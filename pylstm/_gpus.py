"""The GPUs of this machine, whether the CUDA kernels can run on them, and if not, why."""

import dataclasses
import re

from pylstm._library import built_with, load_cuda
from pylstm.errors import DeviceError

# cudaError_t
_MEMORY_ALLOCATION = 2
# Driver too old or absent, no code of ours for the device, no device, an invalid one, no code;
# then, for code that the driver would have to compile: no compiler, an older one, not allowed.
_NO_DEVICE = (35, 98, 100, 101, 209, 221, 222, 223)


@dataclasses.dataclass(frozen=True)
class Gpu:
    """Attributes: capability: The compute capability, such as 90 for 9.0."""

    name: str
    capability: int

    @property
    def obstacle(self):
        """Why the kernels cannot run on it, or None."""
        architectures = built_with("CUDA_ARCHITECTURES").split(";")
        code = {_code_for(self.capability, architecture) for architecture in architectures}
        if "machine code" in code:
            return None
        capability = self.capability / 10
        if "PTX" not in code:
            built_for = ", ".join(architectures)
            return f"its compute capability is {capability}, and pylstm was built for {built_for}"
        cuda = load_cuda()
        if cuda.driver_version() >= cuda.runtime_version:
            return None
        return (
            f"its compute capability is {capability}: it needs a driver for CUDA "
            f"{_version(cuda.runtime_version)} or newer, or pylstm built for {capability}"
        )


def find_gpus():
    """Returns every `Gpu` of this machine that CUDA shows.

    Raises:
        BackendLoadError: pylstm was built without CUDA.
        DeviceError: There is no driver, or none that is new enough, or no GPU.
    """
    cuda = load_cuda()
    runtime, driver = cuda.runtime_version, cuda.driver_version()
    if driver // 1000 < runtime // 1000:
        found = f"a driver for CUDA {_version(driver)}" if driver else "no NVIDIA driver"
        needed = f"a driver for CUDA {_version(runtime)} or newer"
        raise DeviceError("PYL135", expected=needed, got=found, fix="install that driver")
    try:
        return [Gpu(*device) for device in cuda.devices()]
    except cuda.CudaError as error:
        raise DeviceError("PYL135", got=str(error), fix="nvidia-smi shows what there is") from None


def explain(error):
    """The `DeviceError` for a `CudaError`."""
    if error.status == _MEMORY_ALLOCATION:
        return out_of_memory(error)
    if error.status not in _NO_DEVICE:
        fix = "CUDA_LAUNCH_BLOCKING=1     to see which call failed"
        return DeviceError("PYL137", got=str(error), fix=fix)
    try:
        obstacles = [f"{gpu.name}: {gpu.obstacle}" for gpu in find_gpus() if gpu.obstacle]
    except DeviceError as found:
        return found
    got = "\n".join([str(error), *obstacles])
    return DeviceError("PYL135", got=got, fix="python -m pylstm shows what can run here")


def out_of_memory(error):
    """The `DeviceError` for an error of CUDA or of a framework's allocator."""
    return DeviceError(
        "PYL136",
        got=str(error),
        fix="a smaller batch, shorter sequences, or no gradient, which needs every step kept",
    )


def _code_for(capability, architecture):
    """What one of CMake's architectures, such as "86-real" or "90", has for a GPU: "machine code",
    which runs on its own generation, "PTX", which the driver compiles for newer ones, or None."""
    named = re.fullmatch(r"(\d+)([a-z]?)(?:-(\w+))?", architecture)
    if named is None:  # "all", of a CMake that does not say which
        return "machine code"
    number, specific, kind = named.groups()
    number = int(number)
    if number > capability or (specific and number < capability):
        return None
    if kind != "virtual" and number // 10 == capability // 10:
        return "machine code"
    return "PTX" if kind != "real" else None


def _version(number):
    return f"{number // 1000}.{number % 1000 // 10}"
