// The ops' kernels on the CPU, with TensorFlow's own worker threads.
#include <exception>

#include "bindings/tensorflow_kernels.h"
#include "cpu/lstm.h"

namespace pylstm {
namespace {

class WorkerPool : public cpu::Executor {
 public:
  explicit WorkerPool(tensorflow::OpKernelContext* context)
      : workers_(*context->device()->tensorflow_cpu_worker_threads()) {}

  int concurrency() const override { return workers_.num_threads; }
  void schedule(std::function<void()> task) override {
    workers_.workers->Schedule(std::move(task));
  }

 private:
  const tensorflow::DeviceBase::CpuWorkerThreads& workers_;
};

class CpuBackend {
 public:
  explicit CpuBackend(tensorflow::OpKernelConstruction* context) {
    try {
      isa_ = cpu::select_isa();
    } catch (const std::exception& error) {  // PYLSTM_ISA names none that can run
      context->SetStatus(absl::InvalidArgumentError(error.what()));
    }
  }

  int64_t forward_workspace_bytes(tensorflow::OpKernelContext* context,
                                  const Problem& problem) const {
    return cpu::forward_workspace_bytes(problem, isa_, WorkerPool(context).concurrency());
  }

  int64_t backward_workspace_bytes(tensorflow::OpKernelContext* context,
                                   const Problem& problem) const {
    return cpu::backward_workspace_bytes(problem, isa_, WorkerPool(context).concurrency());
  }

  absl::Status forward(tensorflow::OpKernelContext* context, const Problem& problem,
                       const ForwardBuffers& buffers) const {
    WorkerPool pool(context);
    cpu::lstm_forward(problem, buffers, isa_, pool);
    return absl::OkStatus();
  }

  absl::Status backward(tensorflow::OpKernelContext* context, const Problem& problem,
                        const BackwardBuffers& buffers) const {
    WorkerPool pool(context);
    cpu::lstm_backward(problem, buffers, isa_, pool);
    return absl::OkStatus();
  }

 private:
  cpu::Isa isa_ = cpu::Isa::kBaseline;
};

PYLSTM_REGISTER_KERNELS(tensorflow::DEVICE_CPU, CpuBackend)

}  // namespace
}  // namespace pylstm
