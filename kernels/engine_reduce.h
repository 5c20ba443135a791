// Quick passes that leave a netlist's function: constants and wires folded, equal nodes merged, unused ones removed,
// small nodes absorbed into their only reader. `difflut.circuits.passes` has their like for circuits; these take
// milliseconds, so that an engine needs no simplified circuit, and see nodes that only engines have, the encoder's too.
#pragma once

#include <unordered_map>

#include "engine.h"

namespace difflut::engine {

// What a signal has become: another signal or, at -1, the constant 0; inverted or not.
struct Alias {
  int32_t signal;
  bool inverted;
};

inline void drop_pin(Node& node, int pin) {
  // The pins above move down, and the table with them.
  uint64_t table = low_half(node.table, pin);
  for (int p = pin; p + 1 < node.arity; ++p) {
    node.pins[p] = node.pins[p + 1];
    table = select(p, high_half(table, p + 1), low_half(table, p + 1));
  }
  node.pins[--node.arity] = -1;
  node.table = table;
}

// The node reading what its pins have become, each signal once and none that does not matter.
inline void rewire(Node& node, const std::vector<Alias>& aliases) {
  for (int p = 0; p < node.arity; ++p) {
    const Alias alias = aliases[node.pins[p]];
    const uint64_t low = low_half(node.table, p), high = high_half(node.table, p);
    const uint64_t one = alias.inverted ? low : high, zero = alias.inverted ? high : low;
    node.table = alias.signal < 0 ? zero : select(p, one, zero);
    node.pins[p] = alias.signal;
    for (int q = 0; q < p; ++q)
      if (node.pins[q] == alias.signal && alias.signal >= 0)
        node.table = select(q, high_half(high_half(node.table, p), q), low_half(low_half(node.table, p), q));
  }
  for (int p = node.arity - 1; p >= 0; --p)
    if (!depends(node.table, p)) drop_pin(node, p);
  for (int p = 1; p < node.arity; ++p)  // ascending, so that equal nodes look equal
    for (int q = p; q > 0 && node.pins[q - 1] > node.pins[q]; --q) {
      const uint64_t t = node.table;
      node.table = select(q, select(q - 1, high_half(high_half(t, q), q - 1), high_half(low_half(t, q), q - 1)),
                          select(q - 1, low_half(high_half(t, q), q - 1), low_half(low_half(t, q), q - 1)));
      std::swap(node.pins[q - 1], node.pins[q]);
    }
}

struct NodeHash {
  size_t operator()(const Node& node) const {
    size_t hash = node.table;
    for (int32_t pin : node.pins) hash = (hash ^ size_t(pin)) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29;
    return hash;
  }
};

struct NodeEqual {
  bool operator()(const Node& a, const Node& b) const { return a.table == b.table && a.pins == b.pins; }
};

// Folds and merges; a node that stays has the entry 0 at address 0, its readers invert it where they must.
inline std::vector<Alias> fold(Netlist& net) {
  std::vector<Alias> aliases(net.signals());
  for (int32_t s = 0; s < net.origin; ++s) aliases[s] = {s, false};
  std::unordered_map<Node, int32_t, NodeHash, NodeEqual> seen;
  for (size_t i = 0; i < net.nodes.size(); ++i) {
    Node& node = net.nodes[i];
    const int32_t signal = net.origin + int32_t(i);
    rewire(node, aliases);
    const bool start = node.table & 1;
    if (node.arity < 2) {
      aliases[signal] = {node.arity ? node.pins[0] : -1, start};
      continue;
    }
    Node normal = node;
    if (start) normal.table = ~normal.table;
    const auto [found, isnew] = seen.try_emplace(normal, signal);
    aliases[signal] = {found->second, start};
    if (isnew) node = normal;
  }
  return aliases;
}

// Puts nodes into their only reader where that has no more inputs than `size`, or than it had.
inline void absorb(Netlist& net, const std::vector<int32_t>& outputs, int size) {
  std::vector<int32_t> readers(net.signals()), reader(net.signals(), -1);
  for (size_t i = 0; i < net.nodes.size(); ++i)
    for (int p = 0; p < net.nodes[i].arity; ++p) ++readers[net.nodes[i].pins[p]], reader[net.nodes[i].pins[p]] = i;
  for (int32_t output : outputs) readers[output] += 2;
  for (size_t i = 0; i < net.nodes.size(); ++i) {
    const int32_t signal = net.origin + int32_t(i);
    const Node inner = net.nodes[i];
    if (readers[signal] != 1 || !inner.arity) continue;
    Node& outer = net.nodes[reader[signal]];
    const int place = int(std::find(outer.pins.begin(), outer.pins.end(), signal) - outer.pins.begin());
    // The outer node's other pins, then those of the inner one that it does not read yet.
    Node both = outer;
    uint64_t one = high_half(outer.table, place), zero = low_half(outer.table, place);
    Node ones = outer, zeros = outer;
    ones.table = one, zeros.table = zero;
    drop_pin(ones, place), drop_pin(zeros, place);
    both.pins = ones.pins, both.arity = ones.arity;
    int position[kPins], extra = 0;
    bool fits = true;
    for (int p = 0; p < inner.arity && fits; ++p) {
      const auto end = both.pins.begin() + both.arity;
      const auto at = std::find(both.pins.begin(), end, inner.pins[p]);
      position[p] = int(at - both.pins.begin());
      if (at == end) {
        fits = both.arity < std::max(size, outer.arity) && both.arity < kPins;
        if (fits) both.pins[both.arity++] = inner.pins[p], ++extra;
      }
    }
    if (!fits) continue;
    uint64_t inside = 0;
    for (int a = 0; a < 64; ++a) {
      int address = 0;
      for (int p = 0; p < inner.arity; ++p) address |= (a >> position[p] & 1) << p;
      inside |= (inner.table >> address & 1) << a;
    }
    both.table = (inside & ones.table) | (~inside & zeros.table);
    for (int p = 0; p < inner.arity; ++p) {
      if (position[p] < both.arity - extra) --readers[inner.pins[p]];
      reader[inner.pins[p]] = reader[signal];
    }
    outer = both;
    net.nodes[i].arity = 0;
    readers[signal] = 0;
  }
}

// Removes nodes that nothing needs.
inline void remove_dead(Netlist& net) {
  std::vector<bool> live(net.signals());
  for (int32_t output : net.outputs) live[output] = true;
  for (size_t i = net.nodes.size(); i-- > 0;)
    if (live[net.origin + i])
      for (int p = 0; p < net.nodes[i].arity; ++p) live[net.nodes[i].pins[p]] = true;
  std::vector<int32_t> number(net.signals());
  std::vector<Node> kept;
  for (int32_t s = 0; s < net.signals(); ++s) {
    number[s] = s < net.origin ? s : net.origin + int32_t(kept.size());
    if (s < net.origin || !live[s]) continue;
    kept.push_back(net.nodes[s - net.origin]);
    for (int p = 0; p < kept.back().arity; ++p) kept.back().pins[p] = number[kept.back().pins[p]];
  }
  for (int32_t& output : net.outputs) output = number[output];
  net.nodes = std::move(kept);
}

inline Netlist netlist(const Plan& plan) {
  Netlist net{int32_t(plan.origin), {}, {plan.outputs, plan.outputs + plan.output_start[plan.classes]}};
  for (int64_t i = 0; i < plan.nodes; ++i) {
    Node node{plan.tables[i], {}, 0, int32_t(plan.origin + i)};
    std::copy(plan.wiring + kPins * i, plan.wiring + kPins * (i + 1), node.pins.begin());
    while (node.arity < kPins && node.pins[node.arity] >= 0) ++node.arity;
    net.nodes.push_back(node);
  }
  return net;
}

// Makes the netlist smaller, and says what each output has become. Nodes are absorbed up to `size` inputs.
inline std::vector<Alias> reduce(Netlist& net, int size) {
  std::vector<Alias> counted;
  for (int32_t output : net.outputs) counted.push_back({output, false});
  for (int pass = 0; pass < 2; ++pass) {
    if (pass) absorb(net, net.outputs, size);
    const std::vector<Alias> aliases = fold(net);
    net.outputs.clear();
    for (Alias& output : counted) {
      if (output.signal < 0) continue;
      const Alias alias = aliases[output.signal];
      output = {alias.signal, alias.inverted != output.inverted};
      if (output.signal >= 0) net.outputs.push_back(output.signal);
    }
    remove_dead(net);
    size_t next = 0;
    for (Alias& output : counted)
      if (output.signal >= 0) output.signal = net.outputs[next++];
  }
  return counted;
}

// What is counted for a class: places of signals, those whose zeros count last.
struct Votes {
  std::vector<int32_t> plain, inverted;
  int64_t bias;
};

template <class Place>
std::vector<Votes> count_by_class(const Plan& plan, const std::vector<Alias>& counted, Place place) {
  std::vector<Votes> votes(plan.classes);
  for (int64_t c = 0; c < plan.classes; ++c) {
    votes[c].bias = plan.bias[c];
    for (int64_t i = plan.output_start[c]; i < plan.output_start[c + 1]; ++i) {
      if (counted[i].signal < 0) votes[c].bias += counted[i].inverted;
      else (counted[i].inverted ? votes[c].inverted : votes[c].plain).push_back(place(counted[i].signal));
    }
  }
  return votes;
}

}  // namespace difflut::engine
