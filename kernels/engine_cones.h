// Nodes that do the same at many places, as in a convolution, share one piece of machine code, with a list of places.
//
// A cone is a node (its root) with the nodes that only it reads, such as a pooling node with the convolution before it.
// What they compute for the root stays in registers. Cones with equal nodes that read at equal distances form a group.
#pragma once

#include <string>

#include "engine_assemble.h"
#include "engine_interpret.h"

namespace difflut::engine {

constexpr int kConeNodes = 24;     // most nodes of a cone: 32 registers hold what they compute, and a few inputs
constexpr size_t kFewFused = 16;   // fewer equal cones of several nodes are split: code of their own is not worth it
constexpr size_t kFewCones = 4;    // fewer equal single nodes are interpreted instead
constexpr size_t kMostGroups = 64 << 20;  // bytes: with more code than this, no machine code is used

// The cone of a root: its nodes in the order of their computation, each reading leaves or earlier ones.
struct Cone {
  std::vector<Node> nodes;  // a pin below the number of leaves is a leaf; from there on, an earlier node
  std::vector<int32_t> leaves;

  // The place of the cone: its first leaf. All distances are counted from here.
  int32_t base() const { return leaves.empty() ? 0 : leaves[0]; }

  // Equal for cones that do the same at another place.
  std::string key(int32_t depth) const {
    std::vector<int64_t> numbers{depth, int64_t(leaves.size())};
    for (const Node& node : nodes) {
      numbers.insert(numbers.end(), {int64_t(node.table), node.arity});
      numbers.insert(numbers.end(), node.pins.begin(), node.pins.begin() + node.arity);
    }
    for (int32_t leaf : leaves) numbers.push_back(leaf - base());
    return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(int64_t)};
  }
};

// Divides a netlist into cones. Signals have the places that they had in the plan, so that distances are regular.
class Cones {
 public:
  explicit Cones(const Netlist& net) : net_(net), root_(net.nodes.size()) {
    std::vector<int32_t> readers(net.signals()), reader(net.signals(), -1), size(net.nodes.size());
    for (size_t i = 0; i < net.nodes.size(); ++i)
      for (int p = 0; p < net.nodes[i].arity; ++p) ++readers[net.nodes[i].pins[p]], reader[net.nodes[i].pins[p]] = i;
    for (int32_t output : net.outputs) readers[output] += 2;
    for (int32_t i = int32_t(net.nodes.size()); i-- > 0;) {
      const int32_t signal = net.origin + i;
      const bool joins = readers[signal] == 1 && size[root_[reader[signal]]] < kConeNodes;
      root_[i] = joins ? root_[reader[signal]] : i;
      ++size[root_[i]];
    }
    std::unordered_map<std::string, size_t> alike;
    for (int32_t i = 0; i < int32_t(root_.size()); ++i)
      if (root_[i] == i && size[i] > 1) ++alike[cone(i).key(0)];
    std::vector<bool> rare(root_.size());
    for (int32_t i = 0; i < int32_t(root_.size()); ++i)
      if (root_[i] == i && size[i] > 1) rare[i] = alike[cone(i).key(0)] < kFewFused;
    for (int32_t i = 0; i < int32_t(root_.size()); ++i)
      if (rare[root_[i]]) root_[i] = i;
  }

  bool is_root(int32_t node) const { return root_[node] == node; }

  // Where a signal lies.
  int32_t place(int32_t signal) const {
    return signal < net_.origin ? signal : net_.nodes[signal - net_.origin].origin;
  }

  Cone cone(int32_t root) const {
    Cone found;
    std::vector<int32_t> made;
    visit(root, root, found, made);
    for (Node& node : found.nodes)
      for (int p = 0; p < node.arity; ++p)
        if (node.pins[p] < 0) node.pins[p] = int32_t(found.leaves.size()) + ~node.pins[p];
    return found;
  }

 private:
  // Adds a node behind those that it reads; `made` are the signals of nodes so far. Nodes are negative at first.
  void visit(int32_t index, int32_t root, Cone& found, std::vector<int32_t>& made) const {
    Node node = net_.nodes[index];
    for (int p = 0; p < node.arity; ++p) {
      const int32_t inner = node.pins[p] - net_.origin;
      if (inner >= 0 && root_[inner] == root) visit(inner, root, found, made);
    }
    for (int p = 0; p < node.arity; ++p) {
      const auto at = std::find(made.begin(), made.end(), node.pins[p]);
      if (at != made.end()) node.pins[p] = ~int32_t(at - made.begin());
      else node.pins[p] = leaf(place(node.pins[p]), found.leaves);
    }
    made.push_back(net_.origin + index);
    found.nodes.push_back(node);
  }

  static int32_t leaf(int32_t place, std::vector<int32_t>& leaves) {
    const auto at = std::find(leaves.begin(), leaves.end(), place);
    const auto number = int32_t(at - leaves.begin());
    if (at == leaves.end()) leaves.push_back(place);
    return number;
  }

  const Netlist& net_;
  std::vector<int32_t> root_;  // of each node
};

// Code for all groups, depth by depth; nodes that are alone are interpreted.
class Grouped {
 public:
  using Function = void (*)(uint64_t* in, uint64_t* out, const int32_t* list, int64_t count, uint64_t* scratch);
  static constexpr int kScratch = kConeNodes;

  bool empty() const { return code_.empty(); }
  int32_t places() const { return places_; }

  // Signals, then two vectors that are the engine's, then those that registers give way to.
  void operator()(uint64_t* s) const {
    auto at = [&](int32_t place) { return s + size_t(place) * 8; };
    for (const Stage& stage : stages_) {
      for (size_t i = stage.begin; i < stage.end; ++i) {
        const Group& group = groups_[i];
        const auto function = reinterpret_cast<Function>(code_.functions()[group.code]);
        function(at(group.in), at(group.out), lists_.data() + group.list, group.count, at(places_ + 2));
      }
      stage.rest.template operator()<8>(s);
    }
  }

#ifdef DIFFLUT_ENGINE_ASSEMBLES
  // Nothing is made where fewer than half of the nodes have code in common.
  void make(const Netlist& net) {
    const Cones cones(net);
    places_ = net.origin;
    for (const Node& node : net.nodes) places_ = std::max(places_, node.origin + 1);
    const std::vector<int32_t> depth = depths(net);  // a cone reads what is of lower depth than its root
    std::vector<int32_t> roots;
    for (int32_t i = 0; i < int32_t(net.nodes.size()); ++i)
      if (cones.is_root(i)) roots.push_back(i);
    std::unordered_map<std::string, size_t> number;
    std::vector<std::vector<int32_t>> members;
    for (int32_t root : roots) {
      const auto [found, isnew] = number.try_emplace(cones.cone(root).key(depth[root]), members.size());
      if (isnew) members.emplace_back();
      members[found->second].push_back(root);
    }
    std::stable_sort(members.begin(), members.end(),
                     [&](const auto& a, const auto& b) { return depth[a[0]] < depth[b[0]]; });
    auto is_alone = [&](const std::vector<int32_t>& of) {
      return of.size() < kFewCones && cones.cone(of[0]).nodes.size() == 1;
    };
    size_t alone = 0;
    for (const auto& of : members)
      if (is_alone(of)) alone += of.size();
    if (2 * alone > net.nodes.size()) return;
    std::unordered_map<std::string, size_t> lists;
    std::vector<uint8_t> bytes;
    std::vector<size_t> starts;
    for (size_t first = 0, next; first < members.size(); first = next) {
      const size_t begin = groups_.size();
      std::vector<int32_t> rest;
      for (next = first; next < members.size() && depth[members[next][0]] == depth[members[first][0]]; ++next) {
        const std::vector<int32_t>& of = members[next];
        if (is_alone(of)) {
          rest.insert(rest.end(), of.begin(), of.end());
          continue;
        }
        const Cone cone = cones.cone(of[0]);
        groups_.push_back({starts.size(), list(net, cones, of, lists), cone.base(), net.nodes[of[0]].origin,
                           int64_t(of.size())});
        starts.push_back(bytes.size());
        add_function(cone, bytes);
      }
      std::stable_sort(rest.begin(), rest.end(),
                       [&](int32_t a, int32_t b) { return kind(net.nodes[a]) < kind(net.nodes[b]); });
      stages_.push_back({begin, groups_.size(), Interpreter(net, rest, [&](int32_t s) { return cones.place(s); })});
    }
    if (bytes.size() <= kMostGroups) code_.load(bytes, starts);
  }

 private:
  // How many bytes behind the first cone each one reads and writes; equal lists are kept once.
  size_t list(const Netlist& net, const Cones& cones, const std::vector<int32_t>& roots,
              std::unordered_map<std::string, size_t>& known) {
    std::vector<int32_t> list;
    const int32_t in = cones.cone(roots[0]).base(), out = net.nodes[roots[0]].origin;
    for (int32_t root : roots) {
      list.push_back((cones.cone(root).base() - in) * 64);
      list.push_back((net.nodes[root].origin - out) * 64);
    }
    const std::string bytes(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(int32_t));
    const auto [found, isnew] = known.try_emplace(bytes, lists_.size());
    if (isnew) lists_.insert(lists_.end(), list.begin(), list.end());
    return found->second;
  }

  // A loop over the places of a list: leaves are read from rax on, the root is written to rcx, scratch lies at rdx.
  static void add_function(const Cone& cone, std::vector<uint8_t>& bytes) {
    Netlist net{int32_t(cone.leaves.size()), cone.nodes, {int32_t(cone.leaves.size() + cone.nodes.size()) - 1}};
    std::vector<Operand> places;
    for (int32_t leaf : cone.leaves) places.push_back({leaf - cone.base(), kRax});
    for (int32_t i = 0; i < int32_t(cone.nodes.size()); ++i) places.push_back({i, kRdx});
    places.back() = {0, kRcx};
    const std::vector<uint8_t> body = Compiler(net, std::move(places)).straight();
    Assembler code;
    code.plain({0x49, 0x89, 0xc9});        // mov r9, rcx
    code.plain({0x49, 0x89, 0xd2});        // mov r10, rdx
    code.plain({0x4c, 0x89, 0xc2});        // mov rdx, r8
    const size_t loop = code.bytes.size();
    code.plain({0x49, 0x63, 0x02});        // movsxd rax, [r10]
    code.plain({0x48, 0x01, 0xf8});        // add rax, rdi
    code.plain({0x49, 0x63, 0x4a, 0x04});  // movsxd rcx, [r10 + 4]
    code.plain({0x48, 0x01, 0xf1});        // add rcx, rsi
    code.bytes.insert(code.bytes.end(), body.begin(), body.end());
    code.plain({0x49, 0x83, 0xc2, 0x08});  // add r10, 8
    code.plain({0x49, 0xff, 0xc9});        // dec r9
    code.plain({0x0f, 0x85});              // jnz loop
    code.number(int32_t(loop) - int32_t(code.bytes.size()) - 4, 4);
    code.ret();
    bytes.insert(bytes.end(), code.bytes.begin(), code.bytes.end());
  }

#endif

  struct Group {
    size_t code, list;
    int32_t in, out;  // of the first cone
    int64_t count;
  };
  struct Stage {
    size_t begin, end;
    Interpreter rest;
  };

  int32_t places_ = 0;
  std::vector<Group> groups_;
  std::vector<Stage> stages_;
  std::vector<int32_t> lists_;
  Code code_;
};

}  // namespace difflut::engine
