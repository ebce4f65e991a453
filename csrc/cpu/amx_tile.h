// A tile of the matrix product on AMX: an instruction multiplies 16 rows of 16 pairs of bfloat16 by
// 16 rows of a vector of them, and adds the result to 16 vectors of sums. It takes as long for
// fewer rows, so all tile registers have the same shape.
#pragma once

#include "cpu/left.h"

namespace pylstm::cpu::PYLSTM_ISA {

constexpr int64_t kTileDepth = 16;  // in operands

// As the processor reads them.
struct TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  constexpr TileShapes() {
    for (int i = 0; i < 8; ++i) {
      row_bytes[i] = kVectorBytes;
      rows[i] = kTileRows;
    }
  }
};
static_assert(sizeof(TileShapes) == 64);

// What a thread holds while it multiplies.
class TileRegisters {
 public:
  TileRegisters() {
    // The compiler assumes that 8 bytes are read: it might not write the rest of a local variable.
    static constexpr TileShapes shapes;
    _tile_loadconfig(&shapes);
  }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
  ~TileRegisters() { _tile_release(); }
};

// The compiler does not see that tiles are read from memory: what is written to it before must be
// there, and what is written next must wait.
PYLSTM_FN void order_memory() { asm volatile("" ::: "memory"); }

// The bytes between all rows of a tile, or kUneven: also of too few rows, behind which memory may
// end.
constexpr int64_t kUneven = -1;
template <class T>
PYLSTM_FN int64_t row_distance(T* const* rows, int n) {
  const auto address = [&](int row) { return reinterpret_cast<intptr_t>(rows[row]); };
  if (n < kTileRows || address(1) < address(0)) return kUneven;
  bool even = true;
  for (int row = 2; row < n; ++row) {
    even &= address(row) - address(row - 1) == address(1) - address(0);
  }
  return even ? address(1) - address(0) : kUneven;
}

// Operands of all rows as tiles, one for each copy.
template <class O>
struct LeftTile {
  const O* first;
  int64_t row_bytes, copy_stride;  // distances
  int64_t depth;                   // up to kTileDepth, then zeros
  int64_t skip;                    // how many elements are left out behind them in the panel
};

// Goes through the operands of the left sides in the order of the panel.
template <class O>
class LeftTiles {
 public:
  LeftTiles(const Left<O>* lefts, int n, int rows, int copies, int64_t run_skip)
      : left_(lefts), end_(lefts + n), rows_(rows), copies_(copies), run_skip_(run_skip) {
    find();
  }

  bool at_end() const { return left_ == end_; }

  // The next operands, of one run where the panel has gaps: where they lie, if they lie evenly, or
  // laid out in `memory`, [copy][row][kTileDepth].
  LeftTile<O> take(O* memory) {
    LeftTile<O> tile{memory, kVectorBytes, kTileRows * kTileDepth, 0, 0};
    if (distance_ != kUneven && left_->run - at_ >= kTileDepth) {
      tile.first = operands(0, 0);
      tile.row_bytes = distance_;
      tile.copy_stride = left_->copy_stride;
      pass(kTileDepth, &tile);
    }
    while (tile.depth < kTileDepth && !at_end() && tile.skip == 0) {
      const int64_t n = min(kTileDepth - tile.depth, left_->run - at_);
      const auto lanes = static_cast<__mmask16>((1u << n) - 1);
      for (int copy = 0; copy < copies_; ++copy) {
        O* to = memory + copy * tile.copy_stride + tile.depth;
        for (int row = 0; row < rows_; ++row, to += kTileDepth) {
          const __m512i from = _mm512_maskz_loadu_epi32(lanes, operands(row, copy));
          if (tile.depth == 0) {
            _mm512_storeu_si512(to, from);
          } else {
            _mm512_mask_storeu_epi32(to, lanes, from);
          }
        }
      }
      pass(n, &tile);
    }
    return tile;
  }

 private:
  const O* operands(int row, int copy) const {
    return reinterpret_cast<const O*>(left_->rows[row]) + left_->offset + run_ * left_->run_stride +
           at_ + copy * left_->copy_stride;
  }

  void pass(int64_t n, LeftTile<O>* tile) {
    tile->depth += n;
    at_ += n;
    if (at_ < left_->run) return;
    tile->skip = run_skip_;
    at_ = 0;
    if (++run_ < left_->runs) return;
    run_ = 0;
    ++left_;
    find();
  }

  // The next left side that has operands.
  void find() {
    while (!at_end() && left_->run * left_->runs == 0) ++left_;
    if (!at_end()) distance_ = row_distance(left_->rows, rows_);
  }

  const Left<O>* left_;
  const Left<O>* const end_;
  const int rows_, copies_;
  const int64_t run_skip_;
  int64_t run_ = 0, at_ = 0;  // in the left side
  int64_t distance_ = kUneven;
};

// sums += left · panel, [kTileDepth][kVectors][width].
template <class O, int kVectors, int kShared>
PYLSTM_FN void multiply_add(const LeftTile<O>& left, const O* panel) {
  constexpr int64_t kWidth = Vec<O>::kWidth, kBytes = kVectors * kVectorBytes;
  const auto copy = [&](int vector) { return left.first + vector / kShared * left.copy_stride; };
  order_memory();
  _tile_loadd(4, copy(0), left.row_bytes);
  _tile_loadd(5, panel, kBytes);
  _tile_dpbf16ps(0, 4, 5);
  if constexpr (kVectors > 1) {
    if constexpr (kShared == 1) _tile_loadd(4, copy(1), left.row_bytes);
    _tile_loadd(6, panel + kWidth, kBytes);
    _tile_dpbf16ps(1, 4, 6);
  }
  if constexpr (kVectors > 2) {
    if constexpr (kShared <= 2) _tile_loadd(4, copy(2), left.row_bytes);
    _tile_loadd(5, panel + 2 * kWidth, kBytes);
    _tile_dpbf16ps(2, 4, 5);
  }
  if constexpr (kVectors > 3) {
    if constexpr (kShared == 1) _tile_loadd(4, copy(3), left.row_bytes);
    _tile_loadd(6, panel + 3 * kWidth, kBytes);
    _tile_dpbf16ps(3, 4, 6);
  }
  order_memory();
}

template <int kVectors>
PYLSTM_FN void zero_sums() {
  _tile_zero(0);
  if constexpr (kVectors > 1) _tile_zero(1);
  if constexpr (kVectors > 2) _tile_zero(2);
  if constexpr (kVectors > 3) _tile_zero(3);
}

template <int kVectors>
PYLSTM_FN void load_sums(const float* from, int64_t row_bytes) {
  constexpr int64_t kWidth = Vec<float>::kWidth;
  _tile_loadd(0, from, row_bytes);
  if constexpr (kVectors > 1) _tile_loadd(1, from + kWidth, row_bytes);
  if constexpr (kVectors > 2) _tile_loadd(2, from + 2 * kWidth, row_bytes);
  if constexpr (kVectors > 3) _tile_loadd(3, from + 3 * kWidth, row_bytes);
}

template <int kVectors>
PYLSTM_FN void store_sums(float* to, int64_t row_bytes) {
  constexpr int64_t kWidth = Vec<float>::kWidth;
  _tile_stored(0, to, row_bytes);
  if constexpr (kVectors > 1) _tile_stored(1, to + kWidth, row_bytes);
  if constexpr (kVectors > 2) _tile_stored(2, to + 2 * kWidth, row_bytes);
  if constexpr (kVectors > 3) _tile_stored(3, to + 3 * kWidth, row_bytes);
}

// to[row] = from[row] + left · panel, as tile.h has it.
template <class O, int kVectors, int kShared>
void tile(int rows, const Left<O>* lefts, int n_lefts, const O* panel, int64_t run_skip,
          const float* const* from, float* const* to, const O* ahead) {
  using V = Vec<float>;
  constexpr int64_t kRowWidth = kVectors * V::kWidth, kRowBytes = kVectors * kVectorBytes;
  constexpr int kCopies = (kVectors + kShared - 1) / kShared;
  constexpr int kTogether = 16 / kCopies;  // what was just written cannot be read as a tile soon
  alignas(64) O memory[kTogether][kCopies * kTileRows * kTileDepth];
  alignas(64) float sums[kTileRows * kRowWidth];
  const auto for_sums = [&](auto function) {
    for (int row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < kRowWidth; i += V::kWidth) {
        function(sums + row * kRowWidth + i, row, i);
      }
    }
  };

  const bool apart = lefts->apart || !from;
  order_memory();
  if (apart) {
    zero_sums<kVectors>();
  } else if (const int64_t distance = row_distance(from, rows); distance != kUneven) {
    load_sums<kVectors>(*from, distance);
  } else {
    for_sums([&](float* sum, int row, int64_t i) { V::load(from[row] + i).store(sum); });
    order_memory();
    load_sums<kVectors>(sums, kRowBytes);
  }

  LeftTiles<O> left(lefts, n_lefts, rows, kCopies, run_skip);
  while (!left.at_end()) {
    LeftTile<O> tiles[kTogether];
    int n = 0;
    for (; n < kTogether && !left.at_end(); ++n) tiles[n] = left.take(memory[n]);
    for (const LeftTile<O>* tile = tiles; tile != tiles + n; ++tile) {
      if (ahead) {
        for (int64_t k = 0; k < tile->depth; ++k) __builtin_prefetch(ahead + k * kLine<O>, 0, 2);
        ahead += tile->depth * kLine<O>;
      }
      if (tile->depth == kTileDepth) {
        multiply_add<O, kVectors, kShared>(*tile, panel);
      } else {  // behind the panel's end there may be no memory, or what is no number
        alignas(64) O end[kTileDepth * kRowWidth];
        for (int64_t i = 0; i < kTileDepth * kRowWidth; i += V::kWidth) {
          const auto lanes = static_cast<__mmask16>(i < tile->depth * kRowWidth ? 0xffff : 0);
          _mm512_store_si512(end + i, _mm512_maskz_loadu_epi32(lanes, panel + i));
        }
        multiply_add<O, kVectors, kShared>(*tile, end);
      }
      panel += tile->depth * kRowWidth + tile->skip;
    }
  }

  const int64_t distance = row_distance(to, rows);
  if (distance != kUneven && !(apart && from)) {
    store_sums<kVectors>(*to, distance);
    return;
  }
  store_sums<kVectors>(sums, kRowBytes);
  for_sums([&](const float* sum, int row, int64_t i) {
    const V v = V::load(sum);
    (apart && from ? V::load(from[row] + i) + v : v).store(to[row] + i);
  });
}

// The same for any number of rows, in tiles of which all but the last are whole.
template <class O>
void multiply_rows(int64_t n, int vectors, int shared, const Left<O>* lefts, int n_lefts, int64_t k,
                   const Right<O>& right, int64_t at, int64_t run_skip, const Sum<O>* const* from,
                   Sum<O>* const* to, Fetch<O> fetch) {
  static_assert(kGroupVectors == kTileVectors);
  const O* const panel = right.at(at, 0, vectors);
  run_skip *= vectors * Vec<O>::kWidth;
  const auto function = with_tile_shape(
      vectors, shared, [](auto vectors, auto shared) { return tile<O, vectors, shared>; });
  Left<O> parts[kMaxLefts];
  for (int l = 0; l < n_lefts; ++l) parts[l] = lefts[l];
  for (int64_t row = 0; row < n; row += kTileRows) {
    function(static_cast<int>(min(kTileRows, n - row)), parts, n_lefts, panel, run_skip,
             from ? from + row : nullptr, to + row, fetch.take(k * kLine<O>));
    for (int l = 0; l < n_lefts; ++l) parts[l].rows += kTileRows;
  }
}

}  // namespace pylstm::cpu::PYLSTM_ISA
