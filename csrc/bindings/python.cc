// pylstm._core: the CPU kernels on NumPy arrays. Everything that a pointer's use relies on (shapes,
// types, layout, options) is checked here first. Buffers and their meaning: core/problem.h.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "bindings/aligned_memory.h"
#include "bindings/gil_release.h"
#include "bindings/kept_memory.h"
#include "bindings/shapes.h"
#include "bindings/thread_pool.h"
#include "core/activation_names.h"
#include "cpu/lstm.h"
#include "cpu/quota.h"
#ifdef PYLSTM_HAS_XLA_FFI
#include "bindings/xla_ffi.h"
#endif

namespace py = pybind11;

namespace pylstm {
namespace {

// Every byte 0xff: a NaN in every floating type.
void fill_with_nan(void* memory, int64_t bytes) { std::memset(memory, 0xff, bytes); }

std::string dtype_name(const py::dtype& dtype) { return py::str(dtype); }

std::optional<DType> find_dtype(const py::dtype& dtype) {
  switch (dtype.char_()) {
    case 'e':
      return DType::kFloat16;
    case 'f':
      return DType::kFloat32;
    case 'd':
      return DType::kFloat64;
    default:  // bfloat16 is ml_dtypes', not NumPy's own
      return dtype_name(dtype) == "bfloat16" ? std::optional(DType::kBFloat16) : std::nullopt;
  }
}

py::array as_array(const char* name, py::handle value) {
  if (!py::isinstance<py::array>(value)) {
    throw py::type_error("pylstm: " + std::string(name) + " is a " +
                         std::string(py::str(py::type::of(value).attr("__name__"))) +
                         ", expected a NumPy array");
  }
  return py::reinterpret_borrow<py::array>(value);
}

// The array itself where it is dense, aligned and in native byte order, else a copy that is.
py::array as_dense(const py::array& array) {
  constexpr int kDense =
      py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  const bool native = array.dtype().byteorder() == '=' || array.dtype().byteorder() == '|';
  if ((array.flags() & kDense) == kDense && native) return array;
  return py::module_::import("numpy").attr("require")(
      array, array.dtype().attr("newbyteorder")("="), "CA");
}

[[noreturn]] void refuse_dtype(const char* name, const py::array& array,
                               const std::string& expected) {
  throw py::type_error("pylstm: the dtype of " + std::string(name) +
                       " does not fit.\n  expected: " + expected +
                       "\n  got:      " + dtype_name(array.dtype()) +
                       "\n  fix:      convert it with " + name + ".astype");
}

// One array argument, checked and dense; without an array where None was given.
class Argument {
 public:
  // Floating values, all of the type of `x`.
  static Argument values(const char* name, py::handle value, const py::array& x) {
    if (value.is_none()) return {};
    const py::array array = as_array(name, value);
    if (find_dtype(array.dtype()) != find_dtype(x.dtype()))
      refuse_dtype(name, array, dtype_name(x.dtype()) + ", as x");
    return Argument(as_dense(array));
  }

  static Argument mask(py::handle value) {
    if (value.is_none()) return {};
    const py::array array = as_array("mask", value);
    if (array.dtype().kind() != 'b') refuse_dtype("mask", array, "bool");
    return Argument(as_dense(array));
  }

  bool present() const { return array_.has_value(); }
  const void* data() const { return array_ ? array_->data() : nullptr; }
  const py::array& array() const { return *array_; }

  Shape shape() const {
    if (!array_) return {};
    return {array_->ndim(), [&](int axis) { return array_->shape(axis); }};
  }

 private:
  Argument() = default;
  explicit Argument(py::array array) : array_(std::move(array)) {}

  std::optional<py::array> array_;
};

py::array checked_x(py::handle value) {
  const py::array x = as_array("x", value);
  if (!find_dtype(x.dtype())) refuse_dtype("x", x, "float16, bfloat16, float32 or float64");
  return x;
}

// A fresh array of the type of `like`.
class Result {
 public:
  Result(const py::array& like, std::vector<py::ssize_t> shape, bool poison)
      : array_(like.dtype(), std::move(shape)) {
    if (poison) fill_with_nan(data(), array_.nbytes());
  }

  void* data() { return array_.mutable_data(); }
  const py::array& array() const { return array_; }

 private:
  py::array array_;
};

py::array bytes_array(AlignedMemory memory, int64_t bytes) {
  void* data = memory.get();
  const py::capsule owner(memory.release(), [](void* owned) { AlignedDelete()(owned); });
  return py::array_t<uint8_t>(bytes, static_cast<const uint8_t*>(data), owner);
}

cpu::Isa checked_isa(const std::optional<std::string>& name) {
  return name ? cpu::find_isa(*name, "isa") : cpu::select_isa();
}

Activation checked_activation(const char* argument, const std::string& name) {
  const std::optional<Activation> activation = find_activation(name);
  if (!activation) {
    throw py::value_error("pylstm: unknown " + std::string(argument) + " '" + name +
                          "'; pylstm._core.activations() lists those that there are");
  }
  return *activation;
}

// The keyword arguments that forward and backward share.
struct Options {
  const std::string& activation;
  const std::string& recurrent_activation;
  bool go_backwards;
  bool return_sequences;
  bool zero_output_for_mask;
};

// The tensors that forward and backward share, and the problem that they and the options make.
// Its sizes are set by check_forward or check_backward.
struct Inputs {
  Inputs(py::handle x_value, py::handle h0_value, py::handle c0_value, py::handle kernel_value,
         py::handle recurrent_kernel_value, py::handle bias_value, py::handle mask_value,
         py::handle recurrent_dropout_value, const Options& options, bool save_for_backward)
      : x_array(checked_x(x_value)),
        x(Argument::values("x", x_array, x_array)),
        h0(required("h0", h0_value)),
        c0(required("c0", c0_value)),
        kernel(required("kernel", kernel_value)),
        recurrent_kernel(required("recurrent_kernel", recurrent_kernel_value)),
        bias(Argument::values("bias", bias_value, x_array)),
        mask(Argument::mask(mask_value)),
        recurrent_dropout(Argument::values("recurrent_dropout", recurrent_dropout_value, x_array)) {
    problem.dtype = *find_dtype(x_array.dtype());
    problem.activation = checked_activation("activation", options.activation);
    problem.recurrent_activation =
        checked_activation("recurrent_activation", options.recurrent_activation);
    problem.use_bias = bias.present();
    problem.has_mask = mask.present();
    problem.has_recurrent_dropout = recurrent_dropout.present();
    problem.go_backwards = options.go_backwards;
    problem.return_sequences = options.return_sequences;
    problem.zero_output_for_mask = options.zero_output_for_mask;
    problem.save_for_backward = save_for_backward;
  }

  ForwardShapes shapes() const {
    return {x.shape(),
            h0.shape(),
            c0.shape(),
            kernel.shape(),
            recurrent_kernel.shape(),
            bias.shape(),
            mask.shape(),
            recurrent_dropout.shape()};
  }

  InputBuffers buffers() const {
    return {x.data(),
            h0.data(),
            c0.data(),
            kernel.data(),
            recurrent_kernel.data(),
            bias.data(),
            static_cast<const uint8_t*>(mask.data()),
            recurrent_dropout.data()};
  }

  Argument required(const char* name, py::handle value) const {
    return Argument::values(name, as_array(name, value), x_array);
  }

  const py::array x_array;
  const Argument x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout;
  Problem problem;
};

void require(const std::string& error) {
  if (!error.empty()) throw py::value_error(error);
}

py::tuple forward(py::handle x, py::handle h0, py::handle c0, py::handle kernel,
                  py::handle recurrent_kernel, py::handle bias, py::handle mask,
                  py::handle recurrent_dropout, bool save_for_backward,
                  const std::string& activation, const std::string& recurrent_activation,
                  bool go_backwards, bool return_sequences, bool zero_output_for_mask,
                  const std::optional<std::string>& isa_name, int threads, bool poison) {
  Inputs in(
      x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout,
      {activation, recurrent_activation, go_backwards, return_sequences, zero_output_for_mask},
      save_for_backward);
  Problem& problem = in.problem;
  require(check_forward(in.shapes(), &problem));
  const cpu::Isa isa = checked_isa(isa_name);
  PoolExecutor executor(threads);

  std::vector<py::ssize_t> y_shape{problem.batch, problem.units};
  if (return_sequences) y_shape.insert(y_shape.begin() + 1, problem.time);
  Result y(in.x.array(), std::move(y_shape), poison);
  Result h(in.x.array(), {problem.batch, problem.units}, poison);
  Result c(in.x.array(), {problem.batch, problem.units}, poison);
  AlignedMemory reserve;
  if (save_for_backward) {
    reserve = allocate_aligned(problem.reserve_bytes());
    if (poison) fill_with_nan(reserve.get(), problem.reserve_bytes());
  }
  const int64_t workspace_bytes =
      cpu::forward_workspace_bytes(problem, isa, executor.concurrency());
  const KeptMemory workspace(workspace_bytes);
  if (poison) fill_with_nan(workspace.get(), workspace_bytes);

  ForwardBuffers buffers{in.buffers()};
  buffers.y = y.data();
  buffers.h = h.data();
  buffers.c = c.data();
  buffers.reserve = reserve.get();
  buffers.workspace = workspace.get();
  {
    const GilRelease release;
    cpu::lstm_forward(problem, buffers, isa, executor);
  }
  py::object reserve_array = py::none();
  if (save_for_backward) reserve_array = bytes_array(std::move(reserve), problem.reserve_bytes());
  return py::make_tuple(y.array(), h.array(), c.array(), reserve_array);
}

// The bytes that forward saved, dense and aligned to the numbers that they are.
py::array checked_reserve(py::handle value, int64_t bytes) {
  const py::array array = as_array("reserve", value);
  if (array.dtype().char_() != 'B') refuse_dtype("reserve", array, "uint8");
  if (array.nbytes() != bytes) {
    throw py::value_error(
        "pylstm: the reserve is not this call's.\n  expected: " + std::to_string(bytes) +
        " bytes\n  got:      " + std::to_string(array.nbytes()) +
        " bytes\n  fix:      pass what forward returned with "
        "save_for_backward=True");
  }
  const py::array dense = as_dense(array);
  const bool aligned = reinterpret_cast<uintptr_t>(dense.data()) % alignof(double) == 0;
  return aligned ? dense : py::array(dense.attr("copy")());
}

py::tuple backward(py::handle x, py::handle h0, py::handle c0, py::handle kernel,
                   py::handle recurrent_kernel, py::handle bias, py::handle mask,
                   py::handle recurrent_dropout, py::handle reserve_value, py::handle dy_value,
                   py::handle dh_value, py::handle dc_value, bool input_gradient,
                   const std::string& activation, const std::string& recurrent_activation,
                   bool go_backwards, bool return_sequences, bool zero_output_for_mask,
                   const std::optional<std::string>& isa_name, int threads, bool poison) {
  Inputs in(
      x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout,
      {activation, recurrent_activation, go_backwards, return_sequences, zero_output_for_mask},
      /*save_for_backward=*/true);
  Problem& problem = in.problem;
  problem.input_gradient = input_gradient;
  const Argument dy = Argument::values("dy", dy_value, in.x_array);
  const Argument dh = Argument::values("dh", dh_value, in.x_array);
  const Argument dc = Argument::values("dc", dc_value, in.x_array);
  require(check_backward(in.shapes(), {dy.shape(), dh.shape(), dc.shape()}, &problem));
  const py::array reserve = checked_reserve(reserve_value, problem.reserve_bytes());
  const cpu::Isa isa = checked_isa(isa_name);
  PoolExecutor executor(threads);

  const auto gradient_of = [&](const Argument& argument) {
    const py::array& like = argument.array();
    return Result(like, {like.shape(), like.shape() + like.ndim()}, poison);
  };
  std::optional<Result> dx;
  if (problem.input_gradient) dx = gradient_of(in.x);
  Result dh0 = gradient_of(in.h0);
  Result dc0 = gradient_of(in.c0);
  Result dkernel = gradient_of(in.kernel);
  Result drecurrent_kernel = gradient_of(in.recurrent_kernel);
  std::optional<Result> dbias;
  if (problem.use_bias) dbias = gradient_of(in.bias);
  const int64_t workspace_bytes =
      cpu::backward_workspace_bytes(problem, isa, executor.concurrency());
  const KeptMemory workspace(workspace_bytes);
  if (poison) fill_with_nan(workspace.get(), workspace_bytes);

  BackwardBuffers buffers{in.buffers()};
  buffers.reserve = reserve.data();
  buffers.dy = dy.data();
  buffers.dh = dh.data();
  buffers.dc = dc.data();
  buffers.dx = dx ? dx->data() : nullptr;
  buffers.dh0 = dh0.data();
  buffers.dc0 = dc0.data();
  buffers.dkernel = dkernel.data();
  buffers.drecurrent_kernel = drecurrent_kernel.data();
  buffers.dbias = dbias ? dbias->data() : nullptr;
  buffers.workspace = workspace.get();
  {
    const GilRelease release;
    cpu::lstm_backward(problem, buffers, isa, executor);
  }
  const auto array_or_none = [](const std::optional<Result>& result) {
    return result ? py::object(result->array()) : py::none();
  };
  return py::make_tuple(array_or_none(dx), dh0.array(), dc0.array(), dkernel.array(),
                        drecurrent_kernel.array(), array_or_none(dbias));
}

using ShapeTuple = std::vector<std::optional<int64_t>>;

Shape to_shape(const std::optional<ShapeTuple>& sizes) {
  if (!sizes) return {};
  return {static_cast<int64_t>(sizes->size()),
          [&](int axis) { return (*sizes)[axis].value_or(kUnknown); }};
}

std::optional<py::tuple> find_mismatch_in_tuples(
    const std::optional<ShapeTuple>& x, const std::optional<ShapeTuple>& h0,
    const std::optional<ShapeTuple>& c0, const std::optional<ShapeTuple>& kernel,
    const std::optional<ShapeTuple>& recurrent_kernel, const std::optional<ShapeTuple>& bias,
    const std::optional<ShapeTuple>& mask, const std::optional<ShapeTuple>& recurrent_dropout) {
  Problem problem;
  problem.use_bias = bias.has_value();
  problem.has_mask = mask.has_value();
  problem.has_recurrent_dropout = recurrent_dropout.has_value();
  const std::optional<ShapeMismatch> found = find_mismatch(
      {to_shape(x), to_shape(h0), to_shape(c0), to_shape(kernel), to_shape(recurrent_kernel),
       to_shape(bias), to_shape(mask), to_shape(recurrent_dropout)},
      &problem);
  if (!found) return std::nullopt;
  return py::make_tuple(found->code, found->expected, found->got, found->fix);
}

int64_t reserve_bytes(int64_t batch, int64_t time, int64_t units, const py::dtype& dtype) {
  const std::optional<DType> found = find_dtype(dtype);
  constexpr double kMost = int64_t{1} << 56;  // lest the product overflow
  if (!found || std::min({batch, time, units}) < 0 || 1.0 * batch * time * units > kMost) {
    throw py::value_error("pylstm: reserve_bytes wants sizes and a floating dtype");
  }
  Problem problem;
  problem.batch = batch;
  problem.time = time;
  problem.units = units;
  problem.dtype = *found;
  problem.save_for_backward = true;
  return problem.reserve_bytes();
}

// Handlers of XLA's foreign function interface by name; without any where they were not built.
py::dict xla_handlers() {
  py::dict handlers;
#ifdef PYLSTM_HAS_XLA_FFI
  const auto add = [&handlers](const char* name, auto* handler) {
    handlers[name] = py::capsule(reinterpret_cast<void*>(handler), "xla._CUSTOM_CALL_TARGET");
  };
  add("forward", pylstm_xla_forward);
  add("backward", pylstm_xla_backward);
#endif
  return handlers;
}

constexpr const char* kForwardDoc = R"(Runs an LSTM over a batch of sequences.

Args:
    x: (B, T, F), float16, bfloat16 (ml_dtypes), float32 or float64; the others have its dtype.
    h0, c0: (B, H) initial output and cell state.
    kernel: (F, 4H), gates in Keras' order i, f, c, o.
    recurrent_kernel: (H, 4H).
    bias: (4H,) or None.
    mask: (B, T) bool, True where the step counts, or None.
    recurrent_dropout: (4, B, H) multipliers of h, one per gate, or None.
    activation, recurrent_activation: names from `activations()`.
    go_backwards: read x and mask from the last step to the first.
    return_sequences: y is (B, T, H) in the order of the steps, else (B, H), the last output.
    zero_output_for_mask: masked steps give zeros, instead of the previous output.
    save_for_backward: return the reserve that `backward` needs.
    isa: a name from `isas()`, or None for `selected_isa()`.
    threads: how many may work at once, 0 for one per core.
    poison: fill outputs and scratch memory with NaN before the kernel runs, for tests.

Returns:
    (y, h, c, reserve); h and c are the states after the last step, reserve is None unless saved.

Raises:
    TypeError: for anything but arrays of the dtypes above.
    ValueError: for shapes that do not fit each other, or an unknown option.
)";

constexpr const char* kBackwardDoc = R"(The gradient of `forward`.

Args:
    reserve: what `forward` returned for the same arguments with `save_for_backward=True`.
    dy, dh, dc: gradients by `forward`'s first three results, None for zeros.
    input_gradient: give dx, which takes time where F is large.
    The others: as in `forward`.

Returns:
    (dx, dh0, dc0, dkernel, drecurrent_kernel, dbias); dx is None without
    input_gradient, dbias without bias.

Raises:
    As `forward`.
)";

constexpr const char* kFindMismatchDoc = R"(Checks the shapes of a call without the arrays.

Args:
    Shapes of `forward`'s arguments: tuples with None for sizes that are not known yet, or None
    for what is absent or has an unknown rank.

Returns:
    None where all shapes fit, else (code, expected, got, fix) of the first that does not.
)";

}  // namespace
}  // namespace pylstm

PYBIND11_MODULE(_core, module) {
  using namespace pylstm;
  module.doc() = "The fused LSTM on the CPU, for NumPy arrays.";

  const auto define = [&module](const char* name, auto function, const char* doc,
                                const auto&... arguments) {
    module.def(name, function, doc, arguments..., py::arg("activation") = "tanh",
               py::arg("recurrent_activation") = "sigmoid", py::arg("go_backwards") = false,
               py::arg("return_sequences") = true, py::arg("zero_output_for_mask") = false,
               py::arg("isa") = py::none(), py::arg("threads") = 0, py::arg("poison") = false);
  };
  define("forward", forward, kForwardDoc, py::arg("x"), py::arg("h0"), py::arg("c0"),
         py::arg("kernel"), py::arg("recurrent_kernel"), py::arg("bias") = py::none(),
         py::arg("mask") = py::none(), py::arg("recurrent_dropout") = py::none(),
         py::arg("save_for_backward") = false);
  define("backward", backward, kBackwardDoc, py::arg("x"), py::arg("h0"), py::arg("c0"),
         py::arg("kernel"), py::arg("recurrent_kernel"), py::arg("bias"), py::arg("mask"),
         py::arg("recurrent_dropout"), py::arg("reserve"), py::arg("dy"), py::arg("dh"),
         py::arg("dc"), py::kw_only(), py::arg("input_gradient") = true);

  module.def("find_mismatch", find_mismatch_in_tuples, kFindMismatchDoc, py::arg("x"),
             py::arg("h0"), py::arg("c0"), py::arg("kernel"), py::arg("recurrent_kernel"),
             py::arg("bias"), py::arg("mask"), py::arg("recurrent_dropout"));
  module.def("reserve_bytes", reserve_bytes, "Size of what `forward` saves for `backward`.",
             py::arg("batch"), py::arg("time"), py::arg("units"), py::arg("dtype"));
  module.def("xla_handlers", xla_handlers,
             "PyCapsules for `jax.ffi.register_ffi_target`: forward and backward, or none.");
  module.def(
      "activations",
      [] {
        return std::vector<std::string>(std::begin(kActivationNames), std::end(kActivationNames));
      },
      "Names of the activations, as Keras spells them.");
  module.def(
      "isas",
      [] {
        std::vector<std::string> names;
        for (const cpu::Isa isa : cpu::available_isas()) names.emplace_back(cpu::isa_name(isa));
        return names;
      },
      "Names of the instruction sets that this processor can run, best last.");
  module.def(
      "selected_isa",
      [](const py::object& dtype) {
        const cpu::Isa isa = cpu::select_isa();
        if (dtype.is_none()) return std::string(cpu::isa_name(isa));
        const std::optional<DType> found = find_dtype(py::dtype::from_args(dtype));
        if (!found) throw py::value_error("pylstm: selected_isa wants a floating dtype");
        return std::string(cpu::isa_name(cpu::isa_for(*found, isa)));
      },
      "The best instruction set, or the one that the environment variable PYLSTM_ISA names; of a "
      "dtype, the one that computes it then.",
      py::arg("dtype") = py::none());

  module.def(
      "quota_cores",
      [](const std::string& root) -> std::optional<int> {
        const int cores = cpu::quota_cores(root);
        return cores == INT_MAX ? std::nullopt : std::optional<int>(cores);
      },
      "Cores' worth of time that the container grants, rounded up, or None without a limit.",
      py::arg("root") = "");

  py::module_::import("atexit").attr("register")(py::cpp_function(stop_pool));
}
