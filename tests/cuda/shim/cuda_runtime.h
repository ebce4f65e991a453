// The part of the CUDA run time that pylstm uses, on a CPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "scheduler.h"

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __noinline__

// threadIdx and the like: each component asks the running thread.
template <const dim3& (*kIndex)()>
struct ShimIndex {
  template <unsigned dim3::* kComponent>
  struct Component {
    operator unsigned() const { return kIndex().*kComponent; }
  };
  Component<&dim3::x> x;
  Component<&dim3::y> y;
  Component<&dim3::z> z;
};
inline ShimIndex<::shim::thread_index> threadIdx;
inline ShimIndex<::shim::block_index> blockIdx;
inline ShimIndex<::shim::block_size> blockDim;
inline ShimIndex<::shim::grid_size> gridDim;

inline void __syncthreads() { ::shim::block_barrier(); }

using cudaStream_t = struct ShimStream*;

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidValue,
  cudaErrorInvalidConfiguration,
  cudaErrorStreamCaptureUnsupported,
  cudaErrorCooperativeLaunchTooLarge,
};
inline const char* cudaGetErrorString(cudaError_t status) {
  return status == cudaSuccess ? "no error" : "invalid argument";
}
inline cudaError_t shim_last_error = cudaSuccess;
inline cudaError_t cudaGetLastError() { return std::exchange(shim_last_error, cudaSuccess); }

enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeRelaxed };
inline thread_local cudaStreamCaptureMode shim_capture_mode = cudaStreamCaptureModeGlobal;
inline cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, shim_capture_mode);
  return cudaSuccess;
}
// Stricter than CUDA: as if each use of a kernel were its first, and a stream always captured.
inline cudaError_t shim_load_kernel() {
  return shim_capture_mode == cudaStreamCaptureModeRelaxed ? cudaSuccess
                                                           : cudaErrorStreamCaptureUnsupported;
}

// The device that the tests ask for.
struct ShimDevice {
  int ordinal = 0;
  int capability_major = 9;
  int capability_minor = 0;
  int multiprocessors = 132;
  int shared_bytes = 232448;
  int compiled_capability = 90;
  int cooperative = 1;
  int clusters = 16;  // of 8 blocks, side by side; negative: asking for them is an error
};
inline ShimDevice shim_device;

enum cudaDeviceAttr {
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrCooperativeLaunch,
};
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int) {
  switch (name) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = shim_device.capability_major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = shim_device.capability_minor;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = shim_device.multiprocessors;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = shim_device.shared_bytes;
      break;
    case cudaDevAttrCooperativeLaunch:
      *value = shim_device.cooperative;
      break;
  }
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* ordinal) {
  *ordinal = shim_device.ordinal;
  return cudaSuccess;
}

#define CUDART_VERSION 13000
inline cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
struct cudaDeviceProp {
  char name[256];
  int major, minor;
};
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"shim", shim_device.capability_major, shim_device.capability_minor};
  return cudaSuccess;
}

enum cudaLaunchAttributeID { cudaLaunchAttributeCooperative, cudaLaunchAttributeClusterDimension };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    int cooperative;
    struct {
      unsigned x, y, z;
    } clusterDim;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};
inline const cudaLaunchAttribute* shim_attribute(const cudaLaunchConfig_t* config,
                                                 cudaLaunchAttributeID id) {
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    if (config->attrs[i].id == id) return &config->attrs[i];
  }
  return nullptr;
}
inline unsigned shim_cluster(const cudaLaunchConfig_t* config) {
  const auto* attribute = shim_attribute(config, cudaLaunchAttributeClusterDimension);
  return attribute ? attribute->val.clusterDim.x : 1;
}

// Bytes of dynamic shared memory that a kernel was allowed; 48 KB need no permission.
inline std::map<void*, int> shim_shared_limits;
inline int& shim_shared_limit(void* kernel) {
  return shim_shared_limits.try_emplace(kernel, 48 * 1024).first->second;
}

// Stricter than CUDA, where a limit may be lowered: another thread may count on the old one.
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
  if (const cudaError_t error = shim_load_kernel()) return error;
  int& limit = shim_shared_limit(reinterpret_cast<void*>(kernel));
  if (bytes > shim_device.shared_bytes || bytes < limit) return cudaErrorInvalidValue;
  limit = bytes;
  return cudaSuccess;
}

struct cudaFuncAttributes {
  int ptxVersion;
};
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, Kernel*) {
  attributes->ptxVersion = shim_device.compiled_capability;
  return shim_load_kernel();
}

// As if each block took a whole multiprocessor.
template <class Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel*, int, size_t) {
  *blocks = 1;
  return shim_load_kernel();
}

template <class Kernel>
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, Kernel* kernel,
                                           const cudaLaunchConfig_t* config) {
  const auto limit = static_cast<size_t>(shim_shared_limit(reinterpret_cast<void*>(kernel)));
  if (shim_device.clusters < 0 || config->dynamicSmemBytes > limit) {
    return shim_last_error = cudaErrorInvalidConfiguration;
  }
  *clusters = shim_device.clusters * (8 / shim_cluster(config));
  return shim_load_kernel();
}

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  if (const cudaError_t error = shim_load_kernel()) return error;
  const dim3 grid = config->gridDim, block = config->blockDim;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 ||
      block.x * block.y * block.z > 1024 || block.x * block.y * block.z % 32 != 0 ||
      config->dynamicSmemBytes >
          static_cast<size_t>(shim_shared_limit(reinterpret_cast<void*>(kernel)))) {
    return cudaErrorInvalidConfiguration;
  }
  const bool cooperative = shim_attribute(config, cudaLaunchAttributeCooperative) != nullptr;
  const unsigned cluster = shim_cluster(config);
  if (grid.x % cluster != 0) return cudaErrorInvalidConfiguration;
  const auto multiprocessors = static_cast<unsigned>(shim_device.multiprocessors);
  if (cooperative && grid.x * grid.y * grid.z > multiprocessors) {  // one for each block
    return cudaErrorCooperativeLaunchTooLarge;
  }
  const std::tuple<Parameters...> values(arguments...);
  ::shim::run_grid([&] { std::apply(kernel, values); }, grid, block, config->dynamicSmemBytes,
                   cooperative, cluster);
  return cudaSuccess;
}
