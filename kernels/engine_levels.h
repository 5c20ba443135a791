// A netlist for a GPU whose signals lie in global memory: level by level, nodes of as many pins together.
#pragma once

#include "engine_reduce.h"
#include "engine_schedule.h"

namespace difflut::engine {

constexpr int64_t kFewNodes = 8192;  // are not worth a kernel of their own

// Nodes of a group read nothing that one of them writes; those with fewer pins repeat the first. They write neighbouring signals, those of the first group
// behind the comparisons, so that neighbouring threads mostly read neighbouring signals, too.
struct Levels {
  struct Group {
    int64_t begin, count, pins;
  };
  std::vector<Group> groups;
  std::vector<int32_t> pins;          // of each group [pins][count]
  std::vector<uint64_t> tables;       // [nodes]
  std::vector<int32_t> votes, start;  // signals counted for each class, ~signal where zeros count
  std::vector<int64_t> bias;
};

// The pins that nodes of each depth and number of pins have in their group: those of a few nodes join the next more.
inline std::vector<std::array<int, kPins + 1>> group_pins(const Netlist& net, const std::vector<int32_t>& depth) {
  const size_t depths = net.nodes.empty() ? 0 : *std::max_element(depth.begin(), depth.end()) + 1;
  std::vector<std::array<int, kPins + 1>> of(depths);
  std::vector<std::array<int64_t, kPins + 1>> count(depths);
  for (size_t i = 0; i < net.nodes.size(); ++i) ++count[depth[i]][net.nodes[i].arity];
  for (size_t d = 0; d < depths; ++d) {
    int most = kPins;
    while (!count[d][most]) --most;
    for (int pins = 0; pins < most; ++pins)
      if (count[d][pins] < kFewNodes) count[d][pins + 1] += count[d][pins], count[d][pins] = 0;
    for (int pins = kPins; pins >= 0; --pins) of[d][pins] = count[d][pins] ? pins : pins < most ? of[d][pins + 1] : 0;
  }
  return of;
}

inline Levels levels(const Plan& plan) {
  Netlist net = netlist(plan);
  const std::vector<Alias> counted = reduce(net, 3);
  const std::vector<int32_t> depth = depths(net);
  std::vector<int32_t> order(net.nodes.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = int32_t(i);
  const auto pins = group_pins(net, depth);
  auto key = [&](int32_t i) { return std::pair(depth[i], pins[depth[i]][net.nodes[i].arity]); };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
  Levels found;
  for (size_t begin = 0, end; begin < order.size(); begin = end) {
    for (end = begin; end < order.size() && key(order[end]) == key(order[begin]);) ++end;
    found.groups.push_back({int64_t(begin), int64_t(end - begin), key(order[begin]).second});
  }
  reorder(net, order);
  for (const Levels::Group& group : found.groups)
    for (int p = 0; p < group.pins; ++p)
      for (int64_t i = group.begin; i < group.begin + group.count; ++i)
        found.pins.push_back(net.nodes[i].pins[p < net.nodes[i].arity ? p : 0]);
  for (const Node& node : net.nodes) found.tables.push_back(node.table);
  found.start.push_back(0);
  size_t next = 0;  // the netlist knows what its outputs are called since it was reordered
  for (const Votes& votes : count_by_class(plan, counted, [&](int32_t) { return net.outputs[next++]; })) {
    found.votes.insert(found.votes.end(), votes.plain.begin(), votes.plain.end());
    for (int32_t signal : votes.inverted) found.votes.push_back(~signal);
    found.start.push_back(int32_t(found.votes.size()));
    found.bias.push_back(votes.bias);
  }
  return found;
}

}  // namespace difflut::engine
