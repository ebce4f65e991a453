// Every CUDA call goes through PYLSTM_CUDA_CHECK, every launch through launch_kernel.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace pylstm::cuda {

class CudaError : public std::runtime_error {
 public:
  CudaError(cudaError_t status, const char* call)
      : std::runtime_error(std::string("CUDA: ") + call + ": " + cudaGetErrorString(status)),
        status_(status) {}
  cudaError_t status() const { return status_; }

 private:
  cudaError_t status_;
};

inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // a failed launch must not poison the caller's next call
  throw CudaError(status, call);
}

#define PYLSTM_CUDA_CHECK(call) ::pylstm::cuda::check((call), #call)

// While it lives, this thread may do what a strict stream capture forbids: at its first use a
// kernel's code is loaded, for which the driver may allocate. Launches are captured as ever.
class RelaxedCapture {
 public:
  RelaxedCapture() { PYLSTM_CUDA_CHECK(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  ~RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;  // later the one to go back to
};

struct Launch {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
  bool cooperative = false;  // all blocks run at once
  unsigned cluster = 1;      // blocks per thread-block cluster
};

// Lets a kernel have all the shared memory of the current device, and returns its bytes. The limit
// is the process's: one of a launch's own size could be lowered by another thread just before that
// launch.
template <class Kernel>
int allow_all_shared_memory(const char* name, Kernel* kernel) {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), name);
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), name);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), name);
  return bytes;
}

// A launch as CUDA takes it. It points into itself.
struct LaunchConfig {
  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t config = {};

  LaunchConfig(const LaunchConfig&) = delete;
  explicit LaunchConfig(const Launch& launch) {
    config.gridDim = launch.grid;
    config.blockDim = launch.block;
    config.dynamicSmemBytes = launch.shared_bytes;
    config.stream = launch.stream;
    config.attrs = attributes;
    if (launch.cooperative) {
      cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
      attribute.id = cudaLaunchAttributeCooperative;
      attribute.val.cooperative = 1;
    }
    if (launch.cluster > 1) {
      cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim.x = launch.cluster;
      attribute.val.clusterDim.y = 1;
      attribute.val.clusterDim.z = 1;
    }
  }
};

// Asynchronous, on the caller's stream, safe inside a stream capture. An empty grid is no work.
template <class... Parameters, class... Arguments>
void launch_kernel(const char* name, void (*kernel)(Parameters...), const Launch& launch,
                   Arguments&&... arguments) {
  if (launch.grid.x == 0 || launch.grid.y == 0 || launch.grid.z == 0) return;
  if (launch.shared_bytes > 48 * 1024) allow_all_shared_memory(name, kernel);
  const LaunchConfig made(launch);
  check(cudaLaunchKernelEx(&made.config, kernel, static_cast<Arguments&&>(arguments)...), name);
}

}  // namespace pylstm::cuda
