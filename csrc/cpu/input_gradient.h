// dx = dz Wᵀ over the entries of a chunk.
#pragma once

#include "cpu/entries.h"
#include "cpu/transposed.h"

namespace pylstm::cpu::PYLSTM_ISA {

template <class S>
class InputGradient {
 public:
  using T = Compute<S>;
  using V = Vec<T>;
  using O = Operand<S>;

  // Where dx is not wanted, W counts as having no features.
  InputGradient(const Problem& problem, const BackwardBuffers& buffers, UnitPanels<T> panels,
                const Entries<S>& entries, Arena& arena)
      : p_(problem),
        dx_(static_cast<S*>(buffers.dx)),
        entries_(entries),
        kernel_(buffers.kernel, p_.input_gradient ? p_.features : 0, panels, arena) {}

  void pack(int rank, int threads) const {
    for (int64_t v = rank * kTileVectors; v < kernel_.vectors(); v += threads * kTileVectors) {
      kernel_.pack(v, kernel_.vectors());
    }
  }

  // Goes through the blocks of entries, each for all panels. The threads share panels × entries.
  // `thread`: whose share this is; claimed(): the number of the next piece of it to compute, a
  // piece being a block's part of a panel.
  template <class Claimed>
  void compute(const Part& part, int thread, int threads, const ProductRows<S>& product,
               Claimed claimed) const {
    const auto lefts = entries_.dz_lefts(product);
    const int64_t panels = ceil_div(kernel_.vectors(), kTileVectors);
    const Range mine = part.share(panels * part.entries, thread, threads);
    int64_t next = claimed();
    for (int64_t at = mine.first, piece = 0, n; at < mine.last; at += n, ++piece) {
      const int64_t block = at / (kRowBlock * panels) * kRowBlock;
      const int64_t rows = min(kRowBlock, part.entries - block), in_block = at - block * panels;
      const int64_t first = part.begin + block + in_block % rows;
      const int64_t v = in_block / rows * kTileVectors;
      n = min(part.begin + block + rows - first, mine.last - at);
      if (piece < next) continue;
      next = claimed();
      for (int64_t i = 0; i < n; ++i) {
        entries_.set_row(product, i, first + i);
        product.out[i] = product.results + i * kTileColumns<V>;
      }
      const int vectors = static_cast<int>(min(kTileVectors, kernel_.vectors() - v));
      const int64_t columns = min(vectors * V::kWidth, p_.features - v * V::kWidth);
      multiply<O>(lefts.of, lefts.count, n, kernel_.panel(v), 0, vectors, nullptr, product.out,
                  kernel_.ahead(v + kTileVectors, {0, kernel_.vectors()}, n));
      for (int64_t i = 0; i < n; ++i) {
        convert_row(product.out[i], columns,
                    dx_ + entries_.input(first + i) * p_.features + v * V::kWidth);
      }
    }
  }

  // dx of a masked step.
  void zero(int64_t input) const {
    S* dx = dx_ + input * p_.features;
    for (int64_t f = 0; f < p_.features; ++f) narrow(T(0), dx + f);
  }

 private:
  const Problem& p_;
  S* dx_;
  const Entries<S>& entries_;
  const Transposed<S> kernel_;
};

}  // namespace pylstm::cpu::PYLSTM_ISA
