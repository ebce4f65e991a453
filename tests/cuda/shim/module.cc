// What the tests need of the CUDA kernels and of their dispatch, on arrays in host memory.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cuda/dispatch.h"
#include "cuda/lstm.h"
#include "scheduler.h"

namespace py = pybind11;

namespace {

using pylstm::Activation;
using pylstm::BackwardBuffers;
using pylstm::DType;
using pylstm::ForwardBuffers;
using pylstm::InputBuffers;
using pylstm::Problem;
using pylstm::cuda::Choice;
using pylstm::cuda::DeviceProperties;
using pylstm::cuda::Kernel;
using Clusters = decltype(DeviceProperties::clusters);

void* data(const py::dict& arrays, const char* name) {
  if (!arrays.contains(name) || arrays[name].is_none()) return nullptr;
  return const_cast<void*>(py::cast<py::array>(arrays[name]).data());
}

InputBuffers input_buffers(const py::dict& arrays) {
  return {data(arrays, "x"),
          data(arrays, "h0"),
          data(arrays, "c0"),
          data(arrays, "kernel"),
          data(arrays, "recurrent_kernel"),
          data(arrays, "bias"),
          static_cast<const uint8_t*>(data(arrays, "mask")),
          data(arrays, "recurrent_dropout")};
}

ForwardBuffers forward_buffers(const py::dict& arrays) {
  ForwardBuffers buffers{input_buffers(arrays)};
  buffers.y = data(arrays, "y");
  buffers.h = data(arrays, "h");
  buffers.c = data(arrays, "c");
  buffers.reserve = data(arrays, "reserve");
  buffers.workspace = data(arrays, "workspace");
  return buffers;
}

BackwardBuffers backward_buffers(const py::dict& arrays) {
  BackwardBuffers buffers{input_buffers(arrays)};
  buffers.reserve = data(arrays, "reserve");
  buffers.dy = data(arrays, "dy");
  buffers.dh = data(arrays, "dh");
  buffers.dc = data(arrays, "dc");
  buffers.dx = data(arrays, "dx");
  buffers.dh0 = data(arrays, "dh0");
  buffers.dc0 = data(arrays, "dc0");
  buffers.dkernel = data(arrays, "dkernel");
  buffers.drecurrent_kernel = data(arrays, "drecurrent_kernel");
  buffers.dbias = data(arrays, "dbias");
  buffers.workspace = data(arrays, "workspace");
  return buffers;
}

}  // namespace

PYBIND11_MODULE(cuda_shim, module) {
  py::enum_<DType>(module, "DType")
      .value("float16", DType::kFloat16)
      .value("bfloat16", DType::kBFloat16)
      .value("float32", DType::kFloat32)
      .value("float64", DType::kFloat64);

  py::enum_<Activation> activations(module, "Activation");
#define PYLSTM_VALUE(Name, keras_name) activations.value(keras_name, Activation::k##Name);
  PYLSTM_ACTIVATIONS(PYLSTM_VALUE)
#undef PYLSTM_VALUE

  py::class_<Problem>(module, "Problem")
      .def(py::init<>())
      .def_readwrite("batch", &Problem::batch)
      .def_readwrite("time", &Problem::time)
      .def_readwrite("features", &Problem::features)
      .def_readwrite("units", &Problem::units)
      .def_readwrite("dtype", &Problem::dtype)
      .def_readwrite("activation", &Problem::activation)
      .def_readwrite("recurrent_activation", &Problem::recurrent_activation)
      .def_readwrite("use_bias", &Problem::use_bias)
      .def_readwrite("has_mask", &Problem::has_mask)
      .def_readwrite("has_recurrent_dropout", &Problem::has_recurrent_dropout)
      .def_readwrite("go_backwards", &Problem::go_backwards)
      .def_readwrite("return_sequences", &Problem::return_sequences)
      .def_readwrite("zero_output_for_mask", &Problem::zero_output_for_mask)
      .def_readwrite("save_for_backward", &Problem::save_for_backward)
      .def_readwrite("input_gradient", &Problem::input_gradient)
      .def_readwrite("allow_tf32", &Problem::allow_tf32)
      .def("reserve_bytes", &Problem::reserve_bytes);

  py::class_<DeviceProperties>(module, "DeviceProperties")
      .def(py::init([](int compute_capability, int multiprocessors, int shared_bytes_per_block,
                       const Clusters& clusters, bool cooperative) {
             return DeviceProperties{compute_capability, multiprocessors, shared_bytes_per_block,
                                     clusters, cooperative};
           }),
           py::kw_only(), py::arg("compute_capability"), py::arg("multiprocessors"),
           py::arg("shared_bytes_per_block"), py::arg("clusters") = Clusters{},
           py::arg("cooperative") = true)
      .def_readonly("clusters", &DeviceProperties::clusters)
      .def_readonly("cooperative", &DeviceProperties::cooperative);
  module.def(
      "device_properties",
      [](int compiled_capability, int clusters, int cooperative) {
        const int next = shim_device.ordinal + 1;  // what was asked once is kept
        shim_device = {};
        shim_device.ordinal = next;
        shim_device.compiled_capability = compiled_capability;
        shim_device.clusters = clusters;
        shim_device.cooperative = cooperative;
        return pylstm::cuda::device_properties();
      },
      py::kw_only(), py::arg("compiled_capability") = 90, py::arg("clusters") = 16,
      py::arg("cooperative") = 1);
  module.def("captures_strictly", [] { return shim_capture_mode == cudaStreamCaptureModeGlobal; });
  module.def("last_error", [] { return static_cast<int>(cudaGetLastError()); });

  module.def("choose_kernel", [](const Problem& problem, const DeviceProperties& device) {
    const Choice choice = pylstm::cuda::choose_kernel(problem, device);
    return py::make_tuple(pylstm::cuda::kernel_name(choice.kernel), pylstm::cuda::reason(choice));
  });
  module.def("small_tiles", [](const Problem& problem, const DeviceProperties& device) {
    const Choice choice = pylstm::cuda::choose_kernel(problem, device);
    return py::make_tuple(choice.small_forward_tiles, choice.small_backward_tiles);
  });
  module.def("tile_rows", [](const Problem& problem, const DeviceProperties& device) {
    return pylstm::cuda::choose_kernel(problem, device).plan.rows;
  });
  module.def("launches", shim::launches);
  module.def("forward_workspace_bytes", [](const Problem& problem, const DeviceProperties&) {
    return pylstm::cuda::forward_workspace_bytes(problem);
  });
  module.def("backward_workspace_bytes",
             [](const Problem& problem, const DeviceProperties& device) {
               const Choice choice = pylstm::cuda::choose_kernel(problem, device);
               return pylstm::cuda::backward_workspace_bytes(problem, choice, device);
             });
  module.def("lstm_forward", [](const Problem& problem, const DeviceProperties& device,
                                uint64_t seed, const py::dict& arrays) {
    shim::set_seed(seed);
    shim_device.multiprocessors = device.multiprocessors;
    const Choice choice = pylstm::cuda::choose_kernel(problem, device);
    pylstm::cuda::lstm_forward(problem, forward_buffers(arrays), choice, device, nullptr);
  });
  module.def("lstm_backward", [](const Problem& problem, const DeviceProperties& device,
                                 uint64_t seed, const py::dict& arrays) {
    shim::set_seed(seed);
    shim_device.multiprocessors = device.multiprocessors;
    const Choice choice = pylstm::cuda::choose_kernel(problem, device);
    pylstm::cuda::lstm_backward(problem, backward_buffers(arrays), choice, device, nullptr);
  });
}
