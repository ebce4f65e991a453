// The tile registers of Intel's processors, which Linux gives only to a process that asks for them.
#pragma once

namespace pylstm::cpu {

// Whether this process may multiply tiles of bfloat16, from now on.
bool may_use_amx_bf16();

}  // namespace pylstm::cpu
