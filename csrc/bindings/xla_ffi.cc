#include "bindings/xla_ffi.h"

#include <functional>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "bindings/kept_memory.h"
#include "bindings/shapes.h"
#include "core/activation_names.h"
#include "cpu/lstm.h"
#include "xla/ffi/api/ffi.h"

namespace pylstm {
namespace {

namespace ffi = xla::ffi;

class XlaExecutor final : public cpu::Executor {
 public:
  explicit XlaExecutor(ffi::ThreadPool pool) : pool_(pool) {}

  void schedule(std::function<void()> task) override { pool_.Schedule(std::move(task)); }

 private:
  int threads() const override { return static_cast<int>(pool_.num_threads()); }

  ffi::ThreadPool pool_;
};

template <class T>
T value_of(const ffi::ErrorOr<T>& value) {
  if (value.has_error()) throw std::invalid_argument("pylstm: " + value.error().message());
  return value.value();
}

DType to_dtype(ffi::DataType type) {
  switch (type) {
    case ffi::DataType::F16:
      return DType::kFloat16;
    case ffi::DataType::BF16:
      return DType::kBFloat16;
    case ffi::DataType::F32:
      return DType::kFloat32;
    case ffi::DataType::F64:
      return DType::kFloat64;
    default:
      throw std::invalid_argument("pylstm: x must be float16, bfloat16, float32 or float64");
  }
}

Activation to_activation(const ffi::Dictionary& attributes, const char* name) {
  const std::string_view keras_name = value_of(attributes.get<std::string_view>(name));
  const std::optional<Activation> found = find_activation(keras_name);
  if (!found) throw std::invalid_argument("pylstm: unknown " + std::string(name));
  return *found;
}

// A buffer argument that may be absent.
class Argument {
 public:
  Argument() = default;
  explicit Argument(ffi::AnyBuffer buffer) : buffer_(buffer) {}

  const void* data() const { return buffer_ ? buffer_->untyped_data() : nullptr; }
  int64_t bytes() const { return buffer_ ? static_cast<int64_t>(buffer_->size_bytes()) : 0; }

  Shape shape() const {
    if (!buffer_) return {};
    const auto dims = buffer_->dimensions();
    return {static_cast<int64_t>(dims.size()), [&](int axis) { return dims[axis]; }};
  }

 private:
  std::optional<ffi::AnyBuffer> buffer_;
};

// Takes the arguments one after the other and checks their types.
class ArgumentReader {
 public:
  explicit ArgumentReader(ffi::RemainingArgs arguments) : arguments_(arguments) {}

  Argument next(ffi::DataType type) {
    const auto buffer = value_of(arguments_.get<ffi::AnyBuffer>(position_));
    if (buffer.element_type() != type) {
      throw std::invalid_argument("pylstm: the dtype of argument " + std::to_string(position_) +
                                  " does not fit");
    }
    ++position_;
    return Argument(buffer);
  }
  Argument next_if(bool present, ffi::DataType type) { return present ? next(type) : Argument(); }

  ffi::DataType first_type() const {
    return value_of(arguments_.get<ffi::AnyBuffer>(0)).element_type();
  }

 private:
  ffi::RemainingArgs arguments_;
  size_t position_ = 0;
};

// The memory of a result that must hold as many bytes as the problem says.
void* result(const ffi::RemainingRets& results, size_t position, int64_t bytes) {
  ffi::AnyBuffer buffer = *value_of(results.get<ffi::AnyBuffer>(position));
  if (static_cast<int64_t>(buffer.size_bytes()) != bytes) {
    throw std::invalid_argument("pylstm: result " + std::to_string(position) + " has " +
                                std::to_string(buffer.size_bytes()) + " bytes, expected " +
                                std::to_string(bytes));
  }
  return buffer.untyped_data();
}

void require(const std::string& error) {
  if (!error.empty()) throw std::invalid_argument(error);
}

// What forward and backward share. The problem's sizes are set by its shapes' check.
struct Inputs {
  Inputs(ArgumentReader& reader, const ffi::Dictionary& attributes) : type(reader.first_type()) {
    const auto flag = [&](const char* name) { return value_of(attributes.get<bool>(name)); };
    problem.dtype = to_dtype(type);
    problem.activation = to_activation(attributes, "activation");
    problem.recurrent_activation = to_activation(attributes, "recurrent_activation");
    problem.use_bias = flag("use_bias");
    problem.has_mask = flag("has_mask");
    problem.has_recurrent_dropout = flag("has_recurrent_dropout");
    problem.go_backwards = flag("go_backwards");
    problem.return_sequences = flag("return_sequences");
    problem.zero_output_for_mask = flag("zero_output_for_mask");
    problem.save_for_backward = flag("save_for_backward");
    x = reader.next(type);
    h0 = reader.next(type);
    c0 = reader.next(type);
    kernel = reader.next(type);
    recurrent_kernel = reader.next(type);
    bias = reader.next_if(problem.use_bias, type);
    mask = reader.next_if(problem.has_mask, ffi::DataType::PRED);
    recurrent_dropout = reader.next_if(problem.has_recurrent_dropout, type);
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

  ffi::DataType type;
  Problem problem;
  Argument x, h0, c0, kernel, recurrent_kernel, bias, mask, recurrent_dropout;
};

void forward(ffi::ThreadPool pool, ffi::RemainingArgs arguments, ffi::RemainingRets results,
             const ffi::Dictionary& attributes) {
  ArgumentReader reader(arguments);
  Inputs in(reader, attributes);
  Problem& problem = in.problem;
  require(check_forward(in.shapes(), &problem));
  const int64_t width = element_bytes(problem.dtype);

  ForwardBuffers buffers{in.buffers()};
  buffers.y = result(results, 0, problem.y_elements() * width);
  buffers.h = result(results, 1, problem.state_elements() * width);
  buffers.c = result(results, 2, problem.state_elements() * width);
  void* reserve = result(results, 3, problem.reserve_bytes());
  if (problem.save_for_backward) buffers.reserve = reserve;

  XlaExecutor executor(pool);
  const cpu::Isa isa = cpu::selected_isa();
  const KeptMemory workspace(cpu::forward_workspace_bytes(problem, isa, executor.concurrency()));
  buffers.workspace = workspace.get();
  cpu::lstm_forward(problem, buffers, isa, executor);
}

void backward(ffi::ThreadPool pool, ffi::RemainingArgs arguments, ffi::RemainingRets results,
              const ffi::Dictionary& attributes) {
  ArgumentReader reader(arguments);
  Inputs in(reader, attributes);
  const Argument reserve = reader.next(ffi::DataType::U8);
  const Argument dy = reader.next(in.type);
  const Argument dh = reader.next(in.type);
  const Argument dc = reader.next(in.type);
  Problem& problem = in.problem;
  problem.save_for_backward = true;  // whatever the caller says: the reserve is read
  problem.input_gradient = value_of(attributes.get<bool>("input_gradient"));
  require(check_backward(in.shapes(), {dy.shape(), dh.shape(), dc.shape()}, &problem));
  if (reserve.bytes() != problem.reserve_bytes()) {
    throw std::invalid_argument("pylstm: the reserve is not this call's");
  }

  BackwardBuffers buffers{in.buffers()};
  buffers.reserve = reserve.data();
  buffers.dy = dy.data();
  buffers.dh = dh.data();
  buffers.dc = dc.data();
  void* dx = result(results, 0, problem.input_gradient ? in.x.bytes() : 0);
  if (problem.input_gradient) buffers.dx = dx;
  buffers.dh0 = result(results, 1, in.h0.bytes());
  buffers.dc0 = result(results, 2, in.c0.bytes());
  buffers.dkernel = result(results, 3, in.kernel.bytes());
  buffers.drecurrent_kernel = result(results, 4, in.recurrent_kernel.bytes());
  if (problem.use_bias) buffers.dbias = result(results, 5, in.bias.bytes());

  XlaExecutor executor(pool);
  const cpu::Isa isa = cpu::selected_isa();
  const KeptMemory workspace(cpu::backward_workspace_bytes(problem, isa, executor.concurrency()));
  buffers.workspace = workspace.get();
  cpu::lstm_backward(problem, buffers, isa, executor);
}

// `pass` as a handler: no exception may reach XLA.
template <auto pass>
ffi::Error guarded(ffi::ThreadPool pool, ffi::RemainingArgs arguments, ffi::RemainingRets results,
                   ffi::Dictionary attributes) {
  try {
    pass(pool, arguments, results, attributes);
    return ffi::Error::Success();
  } catch (const std::invalid_argument& error) {
    return ffi::Error::InvalidArgument(error.what());
  } catch (const std::bad_alloc& error) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, error.what());
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
}

auto binding() {
  return ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().RemainingArgs().RemainingRets().Attrs();
}

}  // namespace
}  // namespace pylstm

XLA_FFI_DEFINE_HANDLER_SYMBOL(pylstm_xla_forward, pylstm::guarded<pylstm::forward>,
                              pylstm::binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(pylstm_xla_backward, pylstm::guarded<pylstm::backward>,
                              pylstm::binding());
