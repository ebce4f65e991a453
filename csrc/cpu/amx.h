// The tile registers of Intel's processors, which Linux gives only to a process that asks for them.
#pragma once

namespace pylstm::cpu {

// Whether the processor multiplies tiles of bfloat16 and Linux has the registers to give.
bool has_amx_bf16();

// Asks for them, once: whether this process may use them from now on.
bool may_use_tiles();

}  // namespace pylstm::cpu
