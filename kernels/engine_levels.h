// A netlist for a GPU whose signals lie in global memory: level by level, nodes of as many pins together.
#pragma once

#include "engine_reduce.h"
#include "engine_schedule.h"

namespace difflut::engine {

// Nodes of a group read nothing that one of them writes. They write neighbouring signals, those of the first group
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

inline Levels levels(const Plan& plan) {
  Netlist net = netlist(plan);
  const std::vector<Alias> counted = reduce(net, 3);
  const std::vector<int32_t> depth = depths(net);
  std::vector<int32_t> order(net.nodes.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = int32_t(i);
  auto key = [&](int32_t i) { return std::pair(depth[i], net.nodes[i].arity); };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
  Levels found;
  for (size_t begin = 0, end; begin < order.size(); begin = end) {
    for (end = begin; end < order.size() && key(order[end]) == key(order[begin]);) ++end;
    found.groups.push_back({int64_t(begin), int64_t(end - begin), net.nodes[order[begin]].arity});
  }
  reorder(net, order);
  for (const Levels::Group& group : found.groups)
    for (int p = 0; p < group.pins; ++p)
      for (int64_t i = group.begin; i < group.begin + group.count; ++i) found.pins.push_back(net.nodes[i].pins[p]);
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
