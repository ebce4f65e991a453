// The ops' kernels on the CPU, with TensorFlow's own worker threads.
#include <exception>
#include <new>

#include "bindings/kept_memory.h"
#include "bindings/kept_weights.h"
#include "bindings/tensorflow_kernels.h"
#include "cpu/lstm.h"

namespace pylstm {
namespace {

class WorkerPool : public cpu::Executor {
 public:
  explicit WorkerPool(tensorflow::OpKernelContext* context)
      : workers_(*context->device()->tensorflow_cpu_worker_threads()) {}

  void schedule(std::function<void()> task) override {
    workers_.workers->Schedule(std::move(task));
  }

 private:
  int threads() const override { return workers_.num_threads; }

  const tensorflow::DeviceBase::CpuWorkerThreads& workers_;
};

class CpuBackend {
 public:
  explicit CpuBackend(tensorflow::OpKernelConstruction* context) {
    try {
      isa_ = cpu::selected_isa();
    } catch (const std::exception& error) {  // PYLSTM_ISA names none that can run
      context->SetStatus(absl::InvalidArgumentError(error.what()));
    }
    if (context->HasAttr("weights_are_variables")) {
      OP_REQUIRES_OK(context, context->GetAttr("weights_are_variables", &weights_are_variables_));
    }
  }

  absl::Status forward(tensorflow::OpKernelContext* context, const Problem& problem,
                       ForwardBuffers buffers) const {
    return guarded([&] {
      WorkerPool pool(context);
      const KeptMemory workspace(
          cpu::forward_workspace_bytes(problem, isa_, pool.concurrency(), keeps_weights(problem)));
      buffers.workspace = workspace.get();
      return run_forward(context, problem, buffers, pool);
    });
  }

  absl::Status backward(tensorflow::OpKernelContext* context, const Problem& problem,
                        BackwardBuffers buffers) const {
    return guarded([&] {
      WorkerPool pool(context);
      const KeptMemory workspace(cpu::backward_workspace_bytes(problem, isa_, pool.concurrency()));
      buffers.workspace = workspace.get();
      cpu::lstm_backward(problem, buffers, isa_, pool);
      return absl::OkStatus();
    });
  }

 private:
  template <class Pass>
  static absl::Status guarded(const Pass& pass) {
    try {
      return pass();
    } catch (const std::bad_alloc& error) {
      return absl::ResourceExhaustedError(error.what());
    } catch (const std::exception& error) {
      return absl::InternalError(error.what());
    }
  }

  absl::Status run_forward(tensorflow::OpKernelContext* context, const Problem& problem,
                           const ForwardBuffers& buffers, WorkerPool& pool) const {
    kept_weights().drop_changed();
    if (!keeps_weights(problem)) {
      cpu::lstm_forward(problem, buffers, isa_, pool);
      return absl::OkStatus();
    }
    const KeptWeights::Key key{context->input(InputPositions::kernel),
                               context->input(InputPositions::recurrent_kernel), isa_};
    if (const auto packed = kept_weights().find(key)) {
      cpu::lstm_forward(problem, buffers, isa_, pool, {packed->data(), true});
      return absl::OkStatus();
    }
    tensorflow::Tensor packed;
    const tensorflow::TensorShape bytes({cpu::packed_weights_bytes(problem, isa_)});
    TF_RETURN_IF_ERROR(context->allocate_temp(tensorflow::DT_UINT8, bytes, &packed));
    cpu::lstm_forward(problem, buffers, isa_, pool, {packed.data(), false});
    kept_weights().keep(key, packed);
    return absl::OkStatus();
  }

  // Training changes them at every step.
  bool keeps_weights(const Problem& problem) const {
    return weights_are_variables_ && !problem.save_for_backward &&
           cpu::packed_weights_bytes(problem, isa_) > 0;
  }

  cpu::Isa isa_ = cpu::Isa::kBaseline;
  bool weights_are_variables_ = false;
};

PYLSTM_REGISTER_KERNELS(tensorflow::DEVICE_CPU, CpuBackend)

}  // namespace
}  // namespace pylstm
