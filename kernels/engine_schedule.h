// The order in which nodes are computed, and where in memory each signal lies.
#pragma once

#include "engine.h"

namespace difflut::engine {

// For each signal the nodes that read it.
struct Readers {
  std::vector<int32_t> start, nodes;

  explicit Readers(const Netlist& net) : start(net.signals() + 1) {
    for (const Node& node : net.nodes)
      for (int p = 0; p < node.arity; ++p) ++start[node.pins[p] + 1];
    for (size_t s = 1; s < start.size(); ++s) start[s] += start[s - 1];
    nodes.resize(start.back());
    std::vector<int32_t> next(start.begin(), start.end() - 1);
    for (size_t i = 0; i < net.nodes.size(); ++i)
      for (int p = 0; p < net.nodes[i].arity; ++p) nodes[next[net.nodes[i].pins[p]]++] = int32_t(i);
  }
};

// The depth of each node: all that it reads is of lower depth.
inline std::vector<int32_t> depths(const Netlist& net) {
  std::vector<int32_t> depth(net.signals());
  for (size_t i = 0; i < net.nodes.size(); ++i)
    for (int p = 0; p < net.nodes[i].arity; ++p)
      depth[net.origin + i] = std::max(depth[net.origin + i], depth[net.nodes[i].pins[p]] + 1);
  return {depth.begin() + net.origin, depth.end()};
}

// Nodes up to three inputs have a loop for each table, others one for each number of inputs.
inline int kind(const Node& node) { return node.arity > 3 ? 256 + node.arity : int(node.table & 255); }

// The last part of the input that each node depends on, given those of the encoder's signals. Computed in the order of
// parts, layers of a convolution go down the image together, and few signals are needed at a time.
inline std::vector<int32_t> last_parts(const Netlist& net, const int32_t* part) {
  std::vector<int32_t> last(part, part + net.origin);
  last.resize(net.signals());
  for (size_t i = 0; i < net.nodes.size(); ++i)
    for (int p = 0; p < net.nodes[i].arity; ++p)
      last[net.origin + i] = std::max(last[net.origin + i], last[net.nodes[i].pins[p]]);
  return {last.begin() + net.origin, last.end()};
}

// By part, where there are parts, by depth within it, and by kind within that: for an interpreter.
inline std::vector<int32_t> order_by_kind(const Netlist& net, const std::vector<int32_t>& parts) {
  const std::vector<int32_t> depth = depths(net);
  std::vector<int32_t> order(net.nodes.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = int32_t(i);
  auto key = [&](int32_t i) {
    return (int64_t(parts.empty() ? 0 : parts[i]) << 32 | depth[i]) * 512 + kind(net.nodes[i]);
  };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
  return order;
}

// Each node beside one that reads the same, so that what it reads is still in a register or the nearest cache.
class Walk {
 public:
  explicit Walk(const Netlist& net)
      : net_(net), readers_(net), missing_(net.nodes.size()), done_(net.nodes.size()), left_(net.signals()),
        touched_(net.signals(), -kNear) {
    for (size_t i = 0; i < net.nodes.size(); ++i)
      for (int p = 0; p < net.nodes[i].arity; ++p) missing_[i] += net.nodes[i].pins[p] >= net.origin;
    for (int32_t s = 0; s < net.signals(); ++s) left_[s] = readers_.start[s + 1] - readers_.start[s];
    for (size_t i = 0; i < net.nodes.size(); ++i)
      if (!missing_[i]) ready_.push_back(int32_t(i));
  }

  std::vector<int32_t> order() {
    std::vector<int32_t> order;
    order.reserve(net_.nodes.size());
    while (order.size() < net_.nodes.size()) {
      int32_t node = best_neighbour();
      while (node < 0) {
        if (!done_[ready_[next_]]) node = ready_[next_];
        ++next_;
      }
      take(node);
      order.push_back(node);
    }
    return order;
  }

 private:
  static constexpr int kRecent = 20;   // signals taken to be in registers: AVX-512 has 32, some hold what is computed
  static constexpr int kReaders = 12;  // readers of each that are looked at, so that the walk stays fast
  static constexpr int kNear = 300;    // nodes after which a signal (64 bytes) is taken to have left the nearest cache

  int score(int32_t node) const {
    int score = 0;
    for (int p = 0; p < net_.nodes[node].arity; ++p) {
      const int32_t pin = net_.nodes[node].pins[p];
      const bool held = std::find(recent_.begin(), recent_.end(), pin) != recent_.end();
      score += held ? 8 : clock_ - touched_[pin] < kNear ? 4 : 0;
      score += left_[pin] == 1;
    }
    return score - 4 * net_.nodes[node].arity;
  }

  int32_t best_neighbour() {
    int32_t best = -1;
    int best_score = -1000;
    for (auto signal = recent_.rbegin(); signal != recent_.rend(); ++signal) {
      int32_t& end = readers_end(*signal);
      for (int32_t k = readers_.start[*signal], seen = 0; k < end && seen < kReaders; ++k) {
        int32_t& reader = readers_.nodes[k];
        if (done_[reader]) {
          reader = readers_.nodes[--end], --k;
          continue;
        }
        ++seen;
        if (missing_[reader]) continue;
        const int found = score(reader);
        if (found > best_score) best = reader, best_score = found;
      }
    }
    return best;
  }

  // Entries of a signal's readers from this one on are nodes that are already in the order.
  int32_t& readers_end(int32_t signal) {
    if (ends_.empty()) ends_.assign(readers_.start.begin() + 1, readers_.start.end());
    return ends_[signal];
  }

  void take(int32_t node) {
    done_[node] = true, ++clock_;
    for (int p = 0; p < net_.nodes[node].arity; ++p) {
      const int32_t pin = net_.nodes[node].pins[p];
      --left_[pin];
      touch(pin);
    }
    const int32_t signal = net_.origin + node;
    bool usable = false;
    for (int32_t k = readers_.start[signal]; k < readers_.start[signal + 1]; ++k)
      if (--missing_[readers_.nodes[k]] == 0) ready_.push_back(readers_.nodes[k]), usable = true;
    if (usable) touch(signal);
  }

  void touch(int32_t signal) {
    touched_[signal] = clock_;
    const auto at = std::find(recent_.begin(), recent_.end(), signal);
    if (at != recent_.end()) recent_.erase(at);
    if (!left_[signal]) return;
    if (recent_.size() == kRecent) recent_.erase(recent_.begin());
    recent_.push_back(signal);
  }

  const Netlist& net_;
  Readers readers_;
  std::vector<int32_t> missing_;  // of a node: operands that are not computed yet
  std::vector<char> done_;
  std::vector<int32_t> left_;  // of a signal: readers to come
  std::vector<int32_t> touched_, ends_, recent_, ready_;
  size_t next_ = 0;
  int32_t clock_ = 0;
};

inline void reorder(Netlist& net, const std::vector<int32_t>& order) {
  std::vector<int32_t> number(net.signals());
  std::vector<Node> nodes;
  nodes.reserve(order.size());
  for (int32_t s = 0; s < net.origin; ++s) number[s] = s;
  for (int32_t i : order) {
    number[net.origin + i] = net.origin + int32_t(nodes.size());
    nodes.push_back(net.nodes[i]);
    for (int p = 0; p < nodes.back().arity; ++p) nodes.back().pins[p] = number[nodes.back().pins[p]];
  }
  for (int32_t& output : net.outputs) output = number[output];
  net.nodes = std::move(nodes);
}

// A place for every signal; one whose readers are done gives its place to the next.
struct Places {
  std::vector<int32_t> of;  // [signals]
  int32_t count;

  explicit Places(const Netlist& net) : of(net.signals()), count(net.origin) {
    const int32_t never = int32_t(net.nodes.size());
    std::vector<int32_t> last(net.signals(), -1);
    for (size_t i = 0; i < net.nodes.size(); ++i)
      for (int p = 0; p < net.nodes[i].arity; ++p) last[net.nodes[i].pins[p]] = int32_t(i);
    for (int32_t output : net.outputs) last[output] = never;
    std::vector<int32_t> free;
    for (int32_t s = 0; s < net.origin; ++s) {
      of[s] = s;
      if (last[s] < 0) free.push_back(s);
    }
    for (size_t i = 0; i < net.nodes.size(); ++i) {
      for (int p = 0; p < net.nodes[i].arity; ++p)
        if (last[net.nodes[i].pins[p]] == int32_t(i)) free.push_back(of[net.nodes[i].pins[p]]);
      if (free.empty()) free.push_back(count++);
      of[net.origin + i] = free.back();
      free.pop_back();
    }
  }
};

}  // namespace difflut::engine
