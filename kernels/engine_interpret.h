// Nodes computed one after another without machine code of their own: runs of one kind, each in a loop.
#pragma once

#include <utility>

#include "engine_schedule.h"

namespace difflut::engine {

template <int Words>
struct WordsOf {
  typedef uint64_t Type __attribute__((vector_size(8 * Words), aligned(8 * Words), may_alias));
};
template <>
struct WordsOf<1> {
  typedef uint64_t Type;
};
template <int Words>
using Block = typename WordsOf<Words>::Type;

// high where the bit of `pin` is set, low elsewhere.
template <class B>
inline __attribute__((always_inline)) B mux(B pin, B high, B low) {
#ifdef DIFFLUT_ENGINE_AVX512
  if constexpr (sizeof(B) == 64) return (B)_mm512_ternarylogic_epi64((__m512i)pin, (__m512i)high, (__m512i)low, 0xca);
#endif
  return low ^ (pin & (high ^ low));
}

// A table of three inputs that the compiler knows.
template <int Table, class B>
inline __attribute__((always_inline)) B three(B a, B b, B c) {
#ifdef DIFFLUT_ENGINE_AVX512
  if constexpr (sizeof(B) == 64) return (B)_mm512_ternarylogic_epi64((__m512i)c, (__m512i)b, (__m512i)a, Table);
#endif
  auto two = [&](auto entries) -> B {
    constexpr int t = decltype(entries)::value;
    return (t & 1 ? ~(a | b) : B{}) | (t & 2 ? a & ~b : B{}) | (t & 4 ? b & ~a : B{}) | (t & 8 ? a & b : B{});
  };
  return mux<B>(c, two(std::integral_constant<int, (Table >> 4)>()), two(std::integral_constant<int, (Table & 15)>()));
}

struct Instruction {
  uint64_t table;
  std::array<int32_t, kPins> pins;  // places; those without a signal repeat the first
  int32_t output;
};

struct Run {
  int kind;
  size_t begin, end;
};

template <int Words, int Table>
void run_three(Block<Words>* s, const Instruction* i, const Instruction* end) {
  constexpr int third = (Table >> 4) != (Table & 15) ? 2 : 0;
  for (; i != end; ++i) s[i->output] = three<Table>(s[i->pins[0]], s[i->pins[1]], s[i->pins[third]]);
}

// The sixteen functions of the two lowest inputs, then a tree of selections by the others.
template <int Words, int Arity>
void run_tree(Block<Words>* s, const Instruction* i, const Instruction* end) {
  using B = Block<Words>;
  for (; i != end; ++i) {
    const B a = s[i->pins[0]], b = s[i->pins[1]], zero = {};
    const B functions[16] = {zero,     ~(a | b), a & ~b, ~b,       b & ~a, ~a,     a ^ b, ~(a & b),
                             a & b,    ~(a ^ b), a,      a | ~b,   b,      b | ~a, a | b, ~zero};
    B level[1 << (Arity - 3)];
    const B c = s[i->pins[2]];
    for (int k = 0; k < 1 << (Arity - 3); ++k)
      level[k] = mux(c, functions[i->table >> (8 * k + 4) & 15], functions[i->table >> (8 * k) & 15]);
#pragma GCC unroll 3
    for (int pin = 3; pin < Arity; ++pin) {
      const B select = s[i->pins[pin]];
#pragma GCC unroll 4
      for (int k = 0; k < 1 << (Arity - 1 - pin); ++k) level[k] = mux(select, level[2 * k + 1], level[2 * k]);
    }
    s[i->output] = level[0];
  }
}

template <int Words>
using Runner = void (*)(Block<Words>*, const Instruction*, const Instruction*);

template <int Words, size_t... Tables>
constexpr std::array<Runner<Words>, 256> runners(std::index_sequence<Tables...>) {
  return {run_three<Words, int(Tables)>...};
}

template <int Words>
Runner<Words> runner(int kind) {
  static constexpr auto kThree = runners<Words>(std::make_index_sequence<256>());
  if (kind < 256) return kThree[kind];
  return kind == 260 ? run_tree<Words, 4> : kind == 261 ? run_tree<Words, 5> : run_tree<Words, 6>;
}

// Nodes of a netlist, best in the order of kinds, with a place for each signal.
struct Interpreter {
  std::vector<Instruction> instructions;
  std::vector<Run> runs;

  template <class Place>
  Interpreter(const Netlist& net, const std::vector<int32_t>& nodes, Place place) {
    for (int32_t i : nodes) {
      const Node& node = net.nodes[i];
      Instruction instruction{node.table, {}, place(net.origin + i)};
      for (int p = 0; p < kPins; ++p) instruction.pins[p] = place(node.pins[p < node.arity ? p : 0]);
      if (runs.empty() || runs.back().kind != kind(node))
        runs.push_back({kind(node), instructions.size(), instructions.size()});
      ++runs.back().end;
      instructions.push_back(instruction);
    }
  }

  template <int Words>
  void operator()(uint64_t* signals) const {
    auto* s = reinterpret_cast<Block<Words>*>(signals);
    for (const Run& run : runs)
      runner<Words>(run.kind)(s, instructions.data() + run.begin, instructions.data() + run.end);
  }
};

}  // namespace difflut::engine
