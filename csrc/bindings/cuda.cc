// pylstm._cuda: the CUDA kernels on arrays that a framework has allocated. Shapes and options are
// checked here; pointers are the framework's and come as integers.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/gil_release.h"
#include "bindings/shapes.h"
#include "core/activation_names.h"
#include "cuda/check.h"
#include "cuda/dispatch.h"
#include "cuda/lstm.h"

namespace py = pybind11;

namespace pylstm {
namespace {

using Pointers = std::map<std::string, uintptr_t>;
using Shapes = std::map<std::string, std::vector<int64_t>>;

DType checked_dtype(const std::string& name) {
  if (name == "float16") return DType::kFloat16;
  if (name == "bfloat16") return DType::kBFloat16;
  if (name == "float32") return DType::kFloat32;
  if (name == "float64") return DType::kFloat64;
  throw py::type_error("pylstm: x is " + name + ", expected float16, bfloat16, float32 or float64");
}

Activation checked_activation(const std::string& name) {
  const std::optional<Activation> activation = find_activation(name);
  if (!activation) throw py::value_error("pylstm: unknown activation '" + name + "'");
  return *activation;
}

Shape shape_of(const Shapes& shapes, const char* name) {
  const auto found = shapes.find(name);
  if (found == shapes.end()) return {};
  const std::vector<int64_t>& sizes = found->second;
  return {static_cast<int64_t>(sizes.size()), [&](int axis) { return sizes[axis]; }};
}

// One problem on the current device. Arrays that are absent have no shape and no pointer.
class Call {
 public:
  Call(const std::string& dtype, const Shapes& shapes, const std::string& activation,
       const std::string& recurrent_activation, bool go_backwards, bool return_sequences,
       bool zero_output_for_mask, bool save_for_backward, bool input_gradient, bool allow_tf32) {
    problem_.dtype = checked_dtype(dtype);
    problem_.activation = checked_activation(activation);
    problem_.recurrent_activation = checked_activation(recurrent_activation);
    problem_.use_bias = shapes.count("bias") > 0;
    problem_.has_mask = shapes.count("mask") > 0;
    problem_.has_recurrent_dropout = shapes.count("recurrent_dropout") > 0;
    problem_.go_backwards = go_backwards;
    problem_.return_sequences = return_sequences;
    problem_.zero_output_for_mask = zero_output_for_mask;
    problem_.save_for_backward = save_for_backward;
    problem_.input_gradient = input_gradient;
    problem_.allow_tf32 = allow_tf32;
    ForwardShapes forward;
    forward.x = shape_of(shapes, "x");
    forward.h0 = shape_of(shapes, "h0");
    forward.c0 = shape_of(shapes, "c0");
    forward.kernel = shape_of(shapes, "kernel");
    forward.recurrent_kernel = shape_of(shapes, "recurrent_kernel");
    forward.bias = shape_of(shapes, "bias");
    forward.mask = shape_of(shapes, "mask");
    forward.recurrent_dropout = shape_of(shapes, "recurrent_dropout");
    const GradientShapes gradients = {shape_of(shapes, "dy"), shape_of(shapes, "dh"),
                                      shape_of(shapes, "dc")};
    const std::string error = check_backward(forward, gradients, &problem_);
    if (!error.empty()) throw py::value_error(error);
    device_ = cuda::device_properties();
    choice_ = cuda::choose_kernel(problem_, device_);
  }

  int64_t reserve_bytes() const { return problem_.reserve_bytes(); }
  int64_t forward_workspace_bytes() const { return cuda::forward_workspace_bytes(problem_); }
  int64_t backward_workspace_bytes() const {
    return cuda::backward_workspace_bytes(problem_, choice_, device_);
  }
  py::tuple kernel() const {
    return py::make_tuple(cuda::kernel_name(choice_.kernel), cuda::reason(choice_));
  }

  void forward(const Pointers& pointers, uintptr_t stream) const {
    const Arrays arrays{pointers};
    ForwardBuffers buffers{inputs(arrays)};
    buffers.y = arrays.required("y");
    buffers.h = arrays.required("h");
    buffers.c = arrays.required("c");
    if (problem_.save_for_backward) buffers.reserve = arrays.aligned("reserve");
    buffers.workspace = arrays.aligned("workspace");
    cuda::lstm_forward(problem_, buffers, choice_, device_, reinterpret_cast<cudaStream_t>(stream));
  }

  void backward(const Pointers& pointers, uintptr_t stream) const {
    const Arrays arrays{pointers};
    BackwardBuffers buffers{inputs(arrays)};
    buffers.reserve = arrays.aligned("reserve");
    buffers.dy = arrays.optional("dy");
    buffers.dh = arrays.optional("dh");
    buffers.dc = arrays.optional("dc");
    buffers.dx = arrays.required_if(problem_.input_gradient, "dx");
    buffers.dh0 = arrays.required("dh0");
    buffers.dc0 = arrays.required("dc0");
    buffers.dkernel = arrays.required("dkernel");
    buffers.drecurrent_kernel = arrays.required("drecurrent_kernel");
    buffers.dbias = arrays.required_if(problem_.use_bias, "dbias");
    buffers.workspace = arrays.aligned("workspace");
    cuda::lstm_backward(problem_, buffers, choice_, device_,
                        reinterpret_cast<cudaStream_t>(stream));
  }

 private:
  struct Arrays {
    const Pointers& pointers;

    void* optional(const char* name) const {
      const auto found = pointers.find(name);
      return found == pointers.end() ? nullptr : reinterpret_cast<void*>(found->second);
    }
    void* required(const char* name) const {
      if (pointers.count(name) == 0) throw py::key_error(name);
      return optional(name);
    }
    // Of the buffers that the kernels read in vectors; see ForwardBuffers.
    void* aligned(const char* name) const {
      void* const pointer = required(name);
      if (reinterpret_cast<uintptr_t>(pointer) % 64 == 0) return pointer;
      throw py::value_error("pylstm: " + std::string(name) + " is not aligned to 64 bytes");
    }
    void* required_if(bool present, const char* name) const {
      return present ? required(name) : nullptr;
    }
  };

  InputBuffers inputs(const Arrays& arrays) const {
    return {arrays.required("x"),
            arrays.required("h0"),
            arrays.required("c0"),
            arrays.required("kernel"),
            arrays.required("recurrent_kernel"),
            arrays.required_if(problem_.use_bias, "bias"),
            static_cast<const uint8_t*>(arrays.required_if(problem_.has_mask, "mask")),
            arrays.required_if(problem_.has_recurrent_dropout, "recurrent_dropout")};
  }

  Problem problem_;
  cuda::DeviceProperties device_;
  cuda::Choice choice_;
};

// The newest CUDA that the driver can run, 1000 · major + 10 · minor; 0 without a driver.
int driver_version() {
  int version = 0;
  PYLSTM_CUDA_CHECK(cudaDriverGetVersion(&version));
  return version;
}

// (name, 10 · major + minor of the compute capability) of each device.
std::vector<std::pair<std::string, int>> devices() {
  int count = 0;
  PYLSTM_CUDA_CHECK(cudaGetDeviceCount(&count));
  std::vector<std::pair<std::string, int>> found;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cudaDeviceProp properties;
    PYLSTM_CUDA_CHECK(cudaGetDeviceProperties(&properties, ordinal));
    found.emplace_back(properties.name, 10 * properties.major + properties.minor);
  }
  return found;
}

// Makes a CudaError a Python exception with the attribute `status`.
void register_cuda_error(py::module_& module) {
  static py::handle type =
      py::exception<cuda::CudaError>(module, "CudaError", PyExc_RuntimeError).release();
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const cuda::CudaError& error) {
      const py::object raised = type(error.what());
      raised.attr("status") = static_cast<int>(error.status());
      PyErr_SetObject(type.ptr(), raised.ptr());
    }
  });
}

}  // namespace
}  // namespace pylstm

PYBIND11_MODULE(_cuda, module) {
  using pylstm::Call;
  pylstm::register_cuda_error(module);
  module.attr("runtime_version") = CUDART_VERSION;
  module.def("driver_version", pylstm::driver_version);
  module.def("devices", pylstm::devices);
  py::class_<Call>(module, "Call")
      .def(py::init<const std::string&, const pylstm::Shapes&, const std::string&,
                    const std::string&, bool, bool, bool, bool, bool, bool>(),
           py::kw_only(), py::arg("dtype"), py::arg("shapes"), py::arg("activation") = "tanh",
           py::arg("recurrent_activation") = "sigmoid", py::arg("go_backwards") = false,
           py::arg("return_sequences") = true, py::arg("zero_output_for_mask") = false,
           py::arg("save_for_backward") = false, py::arg("input_gradient") = true,
           py::arg("allow_tf32") = false, py::call_guard<pylstm::GilRelease>())
      .def_property_readonly("kernel", &Call::kernel,
                             "The name of the kernel that runs it, and a sentence why.")
      .def_property_readonly("reserve_bytes", &Call::reserve_bytes)
      .def_property_readonly("forward_workspace_bytes", &Call::forward_workspace_bytes)
      .def_property_readonly("backward_workspace_bytes", &Call::backward_workspace_bytes)
      .def("forward", &Call::forward, py::arg("pointers"), py::arg("stream"),
           py::call_guard<pylstm::GilRelease>())
      .def("backward", &Call::backward, py::arg("pointers"), py::arg("stream"),
           py::call_guard<pylstm::GilRelease>());
}
