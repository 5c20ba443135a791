// Nodes of two inputs as a GPU computes them: exclusive ors, and ands of two operands, either of them inverted or not.
#pragma once

#include "engine_reduce.h"

namespace difflut::engine {

constexpr uint64_t kExclusiveOr = 0x6666666666666666;

// Copies a netlist, node after node; what its readers must undo is known of every signal.
class GateMaker {
 public:
  explicit GateMaker(const Netlist& net) : made_{net.origin, {}, {}} {
    for (int32_t s = 0; s < net.origin; ++s) aliases_.push_back({s, false});
    for (const Node& node : net.nodes) aliases_.push_back(add(split(node)));
    for (int32_t output : net.outputs) made_.outputs.push_back(aliases_[output].signal);
  }

  const std::vector<Alias>& aliases() const { return aliases_; }
  Netlist take() { return std::move(made_); }

 private:
  // An or is the inverse of an and.
  Alias add(Node node) {
    const bool inverted = node.arity == 2 && (node.table == ~kExclusiveOr || __builtin_popcountll(node.table) > 32);
    if (inverted) node.table = ~node.table;
    made_.nodes.push_back(node);
    return {made_.signals() - 1, inverted};
  }

  // A node of three inputs that is a gate of an input and of another gate becomes these, the other one first.
  Node split(Node node) {
    rewire(node, aliases_);
    for (int p = 0; p < 3 && node.arity == 3; ++p) {
      Node low = node, high = node;
      low.table = low_half(node.table, p), high.table = high_half(node.table, p);
      drop_pin(low, p), drop_pin(high, p);
      const Node& other = constant(low.table) ? high : low;
      if (low.table != ~high.table && !constant(low.table) && !constant(high.table)) continue;
      const Alias inner = add(other);
      auto outside = [&](uint64_t table) {
        return constant(table) ? table : (table == other.table) != inner.inverted ? kAddressBit[0] : ~kAddressBit[0];
      };
      node = {select(1, outside(high.table), outside(low.table)), {inner.signal, node.pins[p], -1, -1, -1, -1}, 2};
    }
    return node;
  }

  static bool constant(uint64_t table) { return !table || !~table; }

  Netlist made_;
  std::vector<Alias> aliases_;
};

}  // namespace difflut::engine
