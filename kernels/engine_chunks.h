// A netlist for a GPU: chunks of nodes of as many pins, in steps that a block of threads computes at once, between two
// barriers.
//
// A step's nodes read what earlier ones wrote and write where no node of this one or a later one reads. A place holds
// up to four words, so eight threads with places of different banks access memory together (16 or 32 threads with
// smaller places).
#pragma once

#include "engine_gates.h"
#include "engine_schedule.h"
#include "engine_spread.h"

namespace difflut::engine {

constexpr int kWarp = 32;
constexpr int kRow = 6;  // words of code that a thread takes at a time, as in engine_evaluate.cuh

struct Chunks {
  struct Chunk {
    int32_t begin;
    uint16_t lanes;  // threads that have nodes: whole warps
    uint8_t pins;
    uint8_t rows : 7, last : 1;  // words that each of them has; whether this is the last chunk of a step
  };
  std::vector<Chunk> chunks;          // and an empty one
  std::vector<uint64_t> code;         // of each chunk [rows][lanes]
  std::vector<int32_t> votes, start;  // places counted for each class, ~place where zeros count
  std::vector<int64_t> bias;
  int32_t places = 0;
};

class Chunker {
 public:
  // The place behind those of comparisons is read where there is nothing to read, and written for nothing.
  Chunker(const Netlist& net, int64_t threads, int64_t step, int64_t banks)
      : net_(net), threads_(threads), step_(step), banks_(int(banks)), of_(net.signals(), -1), left_(net.signals()),
        free_(banks), trash_(net.origin) {
    for (const Node& node : net.nodes)
      for (int p = 0; p < node.arity; ++p) ++left_[node.pins[p]];
    for (int32_t output : net.outputs) ++left_[output];
    for (int32_t s = 0; s < net.origin; ++s) {
      of_[s] = s;
      if (!left_[s]) free_[s % banks].push_back(s);
    }
    out_.places = net.origin + 1;
  }

  // By part of the input, where there are parts, and by depth within it.
  Chunks cut(const std::vector<int32_t>& parts) {
    const std::vector<int32_t> depth = depths(net_);
    std::vector<int32_t> order(net_.nodes.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = int32_t(i);
    auto part = [&](int32_t i) { return parts.empty() ? 0 : parts[i]; };
    auto key = [&](int32_t i) { return std::pair(part(i), depth[i]); };
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
    while (!order.empty()) {
      std::vector<int32_t> now, later;
      for (int32_t i : order) {
        const bool fits = int64_t(now.size()) < step_ && part(i) == part(order[0]) && ready(i);
        (fits ? now : later).push_back(i);
      }
      step(now);
      order = std::move(later);
    }
    out_.chunks.push_back({int32_t(out_.code.size()), 0, 2, 0, 0});
    out_.code.resize(out_.code.size() + kRow * threads_);  // threads without a node load, too
    return std::move(out_);
  }

  int32_t place(int32_t signal) const { return of_[signal]; }

 private:
  static constexpr int32_t kNone = -1;

  bool ready(int32_t node) const {
    const auto& pins = net_.nodes[node].pins;
    return std::all_of(pins.begin(), pins.begin() + net_.nodes[node].arity, [&](int32_t pin) { return of_[pin] >= 0; });
  }

  void step(const std::vector<int32_t>& nodes) {
    std::vector<int32_t> by_pins[kPins + 1];
    for (int32_t i : nodes) by_pins[net_.nodes[i].arity].push_back(i);
    for (int pins = 3; pins < kPins; ++pins)  // where most threads would idle, nodes join those with a pin more
      if (int64_t(by_pins[pins].size()) < threads_ / 4) {
        by_pins[pins + 1].insert(by_pins[pins + 1].end(), by_pins[pins].begin(), by_pins[pins].end());
        by_pins[pins].clear();
      }
    by_pins[2] = spread(by_pins[2]);
    for (int pins = 2; pins <= kPins; ++pins) {
      const std::vector<int32_t>& alike = by_pins[pins];
      const size_t most = pins == 2 ? kRow * threads_ : threads_;
      for (size_t begin = 0; begin < alike.size(); begin += most)
        chunk(pins, {alike.begin() + begin, alike.begin() + std::min(alike.size(), begin + most)});
    }
    out_.chunks.back().last = true;
    for (int32_t i : nodes)  // places are free again only once the whole step is done
      for (int p = 0; p < net_.nodes[i].arity; ++p)
        if (const int32_t pin = net_.nodes[i].pins[p]; --left_[pin] == 0) free_[bank(pin)].push_back(of_[pin]);
  }

  std::vector<int32_t> spread(const std::vector<int32_t>& gates) {
    Spread spread(banks_);
    swapped_.resize(net_.nodes.size());
    for (int32_t i : gates) {
      int a = bank(net_.nodes[i].pins[0]), b = bank(net_.nodes[i].pins[1]);
      swapped_[i] = spread.swapped(a, b);
      if (swapped_[i]) std::swap(a, b);
      spread.add(i, a, b);
    }
    return spread.order();
  }

  void chunk(int pins, std::vector<int32_t> nodes) {
    const size_t warps = (nodes.size() + kWarp - 1) / kWarp, turns = (nodes.size() + threads_ - 1) / threads_;
    const size_t lanes = (warps + turns - 1) / turns * kWarp, begin = out_.code.size();
    const size_t words = pins == 2 ? 1 : pins < 6 ? 2 : 3;
    nodes.resize(turns * lanes, kNone);
    out_.chunks.push_back({int32_t(begin), uint16_t(lanes), uint8_t(pins), uint8_t(turns * words), false});
    out_.code.resize(begin + nodes.size() * words);
    for (size_t i = 0; i < nodes.size(); ++i) {
      const int32_t result = nodes[i] == kNone ? trash_ : of_[net_.origin + nodes[i]] = take(int(i % banks_));
      uint64_t* code = &out_.code[begin + i / lanes * lanes * words + i % lanes];
      for (const uint64_t word : pins == 2 ? gate(nodes[i], result) : wide(pins, nodes[i], result))
        *code = word, code += lanes;
    }
  }

  // Two operands, the result and what the gate is: an exclusive or (bit 14), or an and whose operands are inverted or
  // not (bits 7 and 15).
  std::vector<uint64_t> gate(int32_t index, int32_t result) const {
    uint64_t a = trash_, b = trash_, kind = 0;
    if (index != kNone) {
      const Node& node = net_.nodes[index];
      a = of_[node.pins[0]], b = of_[node.pins[1]];
      const bool exclusive = node.table == kExclusiveOr;
      uint64_t invert_a = !exclusive && node.table & 5, invert_b = !exclusive && node.table & 3;
      if (swapped_[index]) std::swap(a, b), std::swap(invert_a, invert_b);
      kind = uint64_t(exclusive) << 14 | invert_a << 7 | invert_b << 15;
    }
    return {a | b << 16 | uint64_t(result) << 32 | kind << 48};
  }

  // Pins, result and table: those of up to five pins have room for it beside the result.
  std::vector<uint64_t> wide(int pins, int32_t index, uint64_t result) const {
    const Node node = index == kNone ? Node{0, {}, 0} : net_.nodes[index];
    const uint64_t table = node.table;
    uint64_t pin[kPins];
    for (int p = 0; p < kPins; ++p) pin[p] = p < node.arity ? of_[node.pins[p]] : trash_;
    const uint64_t low = pin[0] | pin[1] << 16 | pin[2] << 32 | pin[3] << 48;
    if (pins < 6) return {low, pin[4] | result << 16 | table << 32};
    return {low, pin[4] | pin[5] << 16 | result << 32, table};
  }

  int bank(int32_t signal) const { return of_[signal] % banks_; }

  int32_t take(int bank) {
    for (int i = 0; i < banks_; ++i)
      if (auto& some = free_[(bank + i) % banks_]; !some.empty()) {
        const int32_t place = some.back();
        some.pop_back();
        return place;
      }
    for (; out_.places % banks_ != bank; ++out_.places) free_[out_.places % banks_].push_back(out_.places);
    return out_.places++;
  }

  const Netlist& net_;
  int64_t threads_, step_;  // of a block; nodes of a step, at most
  int banks_;
  std::vector<int32_t> of_, left_;          // of signals: place; readers to come
  std::vector<std::vector<int32_t>> free_;  // places of each bank
  std::vector<char> swapped_;               // of gates: operands
  int32_t trash_;
  Chunks out_;
};

inline Chunks cut(const Plan& plan, int64_t threads, int64_t step, int64_t banks, bool by_part) {
  Netlist net = netlist(plan);
  std::vector<Alias> counted = reduce(net, 2);
  GateMaker maker(net);
  net = maker.take();
  for (Alias& output : counted) {
    if (output.signal < 0) continue;
    const Alias alias = maker.aliases()[output.signal];
    output = {alias.signal, alias.inverted != output.inverted};
  }
  Chunker chunker(net, threads, step, banks);
  Chunks chunks = chunker.cut(by_part ? last_parts(net, plan.part) : std::vector<int32_t>{});
  chunks.start.push_back(0);
  for (const Votes& votes : count_by_class(plan, counted, [&](int32_t signal) { return chunker.place(signal); })) {
    for (int32_t place : dealt(votes.plain, banks)) chunks.votes.push_back(place);
    for (int32_t place : dealt(votes.inverted, banks)) chunks.votes.push_back(~place);
    chunks.start.push_back(int32_t(chunks.votes.size()));
    chunks.bias.push_back(votes.bias);
  }
  return chunks;
}

}  // namespace difflut::engine
