// A netlist for a GPU: chunks of nodes that a block of threads computes at once, between two barriers.
//
// A chunk's nodes read what earlier chunks wrote and write where no node of this one or a later one reads. A place holds
// `words` words, so eight threads with places of different banks access memory together; nodes are put into eights
// whose first operands, and whose second ones, lie in different banks as far as that goes.
#pragma once

#include "engine_reduce.h"
#include "engine_schedule.h"

namespace difflut::engine {

constexpr int kBanks = 8;
constexpr int kWarp = 32;
constexpr int32_t kMostPlaces = 1 << 14;

struct Chunks {
  struct Chunk {
    int32_t begin, count, wide;  // begin among the gates, or among the wide nodes
  };
  std::vector<Chunk> chunks;
  std::vector<uint64_t> gates;        // two operands and the result, 14 bits each, then four bits of the table
  std::vector<uint64_t> wide;         // table; pins 0 to 3; pins 4 and 5 and the result, 16 bits each
  std::vector<int32_t> votes, start;  // places counted for each class, ~place where zeros count
  std::vector<int64_t> bias;
  int32_t places = 0;
};

class Chunker {
 public:
  Chunker(const Netlist& net, int64_t chunk) : net_(net), chunk_(chunk), of_(net.signals(), -1), left_(net.signals()) {
    for (const Node& node : net.nodes)
      for (int p = 0; p < node.arity; ++p) ++left_[node.pins[p]];
    for (int32_t output : net.outputs) ++left_[output];
    for (int32_t s = 0; s < net.origin; ++s) {
      of_[s] = s;
      if (!left_[s]) free_[s % kBanks].push_back(s);
    }
    out_.places = net.origin;
    trash_ = take(0);
  }

  Chunks cut() {
    const std::vector<int32_t> depth = depths(net_);
    std::vector<int32_t> order(net_.nodes.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = int32_t(i);
    auto key = [&](int32_t i) { return 2 * depth[i] + wide(i); };
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
    for (size_t begin = 0, end; begin < order.size(); begin = end) {
      for (end = begin; end < order.size() && key(order[end]) == key(order[begin]) && int64_t(end - begin) < chunk_;) ++end;
      add({order.begin() + begin, order.begin() + end});
    }
    return std::move(out_);
  }

  int32_t place(int32_t signal) const { return of_[signal]; }

 private:
  bool wide(int32_t node) const { return net_.nodes[node].arity > 2; }

  void add(std::vector<int32_t> nodes) {
    const bool wide_nodes = wide(nodes[0]);
    if (!wide_nodes) nodes = spread(std::move(nodes));
    while (nodes.size() % kWarp) nodes.push_back(-1);
    auto& code = wide_nodes ? out_.wide : out_.gates;
    out_.chunks.push_back({int32_t(code.size() / (wide_nodes ? 3 : 1)), int32_t(nodes.size()), wide_nodes});
    for (size_t i = 0; i < nodes.size(); ++i) {
      const int32_t result = nodes[i] < 0 ? trash_ : of_[net_.origin + nodes[i]] = take(int(i % kBanks));
      wide_nodes ? encode_wide(nodes[i], result) : encode_gate(nodes[i], result);
    }
    for (int32_t i : nodes)  // places are free again only once the whole chunk is done
      for (int p = 0; i >= 0 && p < net_.nodes[i].arity; ++p)
        if (const int32_t pin = net_.nodes[i].pins[p]; --left_[pin] == 0) free_[of_[pin] % kBanks].push_back(of_[pin]);
  }

  void encode_gate(int32_t index, int32_t result) {
    uint64_t a = trash_, b = trash_, table = 0;
    if (index >= 0) {
      const Node& node = net_.nodes[index];
      a = of_[node.pins[0]], b = of_[node.pins[1]], table = node.table & 15;
      if (swapped_[index]) std::swap(a, b), table = (table & 9) | (table & 2) << 1 | (table & 4) >> 1;
    }
    out_.gates.push_back(a | b << 14 | uint64_t(result) << 28 | table << 42);
  }

  void encode_wide(int32_t index, int32_t result) {
    uint64_t pins[kPins];
    for (int p = 0; p < kPins; ++p) {
      const bool used = index >= 0 && p < net_.nodes[index].arity;
      pins[p] = used ? of_[net_.nodes[index].pins[p]] : trash_;
    }
    out_.wide.push_back(index >= 0 ? net_.nodes[index].table : 0);
    out_.wide.push_back(pins[0] | pins[1] << 16 | pins[2] << 32 | pins[3] << 48);
    out_.wide.push_back(pins[4] | pins[5] << 16 | uint64_t(result) << 32);
  }

  // Eights of gates (i, i + d mod 8), i = 0 to 7, where there are such; then the others as they come.
  std::vector<int32_t> spread(std::vector<int32_t> nodes) {
    swapped_.resize(net_.nodes.size());
    std::vector<int32_t> by_banks[kBanks][kBanks], order;
    for (int32_t i : nodes) {
      int a = of_[net_.nodes[i].pins[0]] % kBanks, b = of_[net_.nodes[i].pins[1]] % kBanks;
      swapped_[i] = by_banks[b][a].size() < by_banks[a][b].size();
      if (swapped_[i]) std::swap(a, b);
      by_banks[a][b].push_back(i);
    }
    for (int d = 0; d < kBanks; ++d) {
      size_t common = SIZE_MAX;
      for (int i = 0; i < kBanks; ++i) common = std::min(common, by_banks[i][(i + d) % kBanks].size());
      for (; common; --common)
        for (int i = 0; i < kBanks; ++i) {
          order.push_back(by_banks[i][(i + d) % kBanks].back());
          by_banks[i][(i + d) % kBanks].pop_back();
        }
    }
    for (int d = 0; d < kBanks; ++d)  // neighbours still differ in their first banks mostly
      for (bool any = true; any;) {
        any = false;
        for (int i = 0; i < kBanks; ++i)
          if (auto& some = by_banks[i][(i + d) % kBanks]; !some.empty()) order.push_back(some.back()), some.pop_back(), any = true;
      }
    return order;
  }

  int32_t take(int bank) {
    for (int i = 0; i < kBanks; ++i)
      if (auto& some = free_[(bank + i) % kBanks]; !some.empty()) {
        const int32_t place = some.back();
        some.pop_back();
        return place;
      }
    while (out_.places % kBanks != bank) free_[out_.places % kBanks].push_back(out_.places), ++out_.places;
    return out_.places++;
  }

  const Netlist& net_;
  int64_t chunk_;
  std::vector<int32_t> of_, left_;  // of signals: place; readers to come
  std::vector<int32_t> free_[kBanks];
  std::vector<char> swapped_;
  int32_t trash_ = 0;
  Chunks out_;
};

inline Chunks cut(const Plan& plan, int64_t chunk) {
  Netlist net = netlist(plan);
  const std::vector<Alias> counted = reduce(net, 2);
  Chunker chunker(net, chunk);
  Chunks chunks = chunker.cut();
  chunks.start.push_back(0);
  for (const Votes& votes : count_by_class(plan, counted, [&](int32_t signal) { return chunker.place(signal); })) {
    chunks.votes.insert(chunks.votes.end(), votes.plain.begin(), votes.plain.end());
    for (int32_t place : votes.inverted) chunks.votes.push_back(~place);
    chunks.start.push_back(int32_t(chunks.votes.size()));
    chunks.bias.push_back(votes.bias);
  }
  return chunks;
}

}  // namespace difflut::engine
