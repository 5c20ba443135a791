// Machine code for a netlist, written in milliseconds: AVX-512 on x86-64 Linux. Elsewhere there is none.
#pragma once

#include "engine_schedule.h"

#if defined(DIFFLUT_ENGINE_AVX512) && defined(__x86_64__) && defined(__linux__)
#include <sys/mman.h>
#define DIFFLUT_ENGINE_ASSEMBLES
#endif

namespace difflut::engine {

// Pieces of code, each a function of the address of the signals of a block; empty where there is none.
class Code {
 public:
  using Function = void (*)(uint64_t*);

  Code() = default;
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
#ifdef DIFFLUT_ENGINE_ASSEMBLES
  ~Code() {
    if (memory_) munmap(memory_, size_);
  }

  // Makes bytes executable; where the system forbids it, nothing is there to call.
  void load(const std::vector<uint8_t>& bytes, const std::vector<size_t>& starts) {
    void* memory = mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    memory_ = memory, size_ = bytes.size();
    std::memcpy(memory, bytes.data(), bytes.size());
    if (mprotect(memory, size_, PROT_READ | PROT_EXEC)) return;
    for (size_t start : starts) functions_.push_back(reinterpret_cast<Function>(static_cast<uint8_t*>(memory) + start));
  }
#endif

  bool empty() const { return functions_.empty(); }
  const std::vector<Function>& functions() const { return functions_; }

 private:
  std::vector<Function> functions_;
  void* memory_ = nullptr;
  size_t size_ = 0;
};

#ifdef DIFFLUT_ENGINE_ASSEMBLES

// A vector in memory: at so many vectors from the address in a register, one of the first four, rsi or rdi.
enum Base : uint8_t { kRax = 0, kRcx = 1, kRdx = 2, kRdi = 7 };
struct Operand {
  int32_t place;
  Base base;
};

// The few instructions needed, on registers zmm0 to zmm31 and memory; see Intel's manual, volume 2, EVEX.
class Assembler {
 public:
  std::vector<uint8_t> bytes;

  void load(int to, Operand from) { at(1, 0x6f, to, 0, from); }
  void store(int from, Operand to) { at(1, 0x7f, from, 0, to); }
  void move(int to, int from) { registers(1, 0x6f, to, 0, from); }
  void binary(uint8_t operation, int to, int a, int b) { registers(1, operation, to, a, b); }
  void binary_at(uint8_t operation, int to, int a, Operand b) { at(1, operation, to, a, b); }
  void ternary(int to, int b, int c, uint8_t table) { registers(3, 0x25, to, b, c), bytes.push_back(table); }
  void ternary_at(int to, int b, Operand c, uint8_t table) { at(3, 0x25, to, b, c), bytes.push_back(table); }
  void plain(std::initializer_list<uint8_t> code) { bytes.insert(bytes.end(), code); }
  void ret() { plain({0xc3}); }

  void number(int32_t value, int size) {
    for (int i = 0; i < size; ++i) bytes.push_back(uint8_t(value >> (8 * i)));
  }

 private:
  void prefix(int map, int reg, int vvvv, int rm) {
    bytes.push_back(0x62);
    bytes.push_back((~reg >> 3 & 1) << 7 | (~rm >> 4 & 1) << 6 | (~rm >> 3 & 1) << 5 | (~reg >> 4 & 1) << 4 | map);
    bytes.push_back(0x80 | (~vvvv & 15) << 3 | 4 | 1);
    bytes.push_back(0x40 | (~vvvv >> 4 & 1) << 3);
  }

  void registers(int map, uint8_t opcode, int reg, int vvvv, int rm) {
    prefix(map, reg, vvvv, rm);
    bytes.push_back(opcode);
    bytes.push_back(0xc0 | (reg & 7) << 3 | (rm & 7));
  }

  void at(int map, uint8_t opcode, int reg, int vvvv, Operand where) {
    prefix(map, reg, vvvv, where.base);
    bytes.push_back(opcode);
    const bool near = where.place >= -128 && where.place < 128;  // in vectors of 64 bytes
    bytes.push_back((near ? 0x40 : 0x80) | (reg & 7) << 3 | where.base);
    number(near ? where.place : where.place * 64, near ? 1 : 4);
  }
};

// Translates nodes in their order. Registers keep signals; that whose next reader is farthest gives way.
class Compiler {
 public:
  // Signals lie in memory where `places` says.
  Compiler(const Netlist& net, std::vector<Operand> places)
      : net_(net), places_(std::move(places)), stored_(net.signals(), true) {
    uses_.resize(net.signals());
    for (size_t i = 0; i < net.nodes.size(); ++i)
      for (int p = 0; p < net.nodes[i].arity; ++p) uses_[net.nodes[i].pins[p]].push_back(int32_t(i));
  }

  // Code in pieces of at most about `limit` bytes, each of which returns.
  void compile(size_t limit, Code& code) {
    limit_ = limit;
    translate();
    out_.ret();
    code.load(out_.bytes, starts_);
  }

  // Code in one piece, which does not return.
  std::vector<uint8_t> straight() {
    limit_ = SIZE_MAX;
    translate();
    return std::move(out_.bytes);
  }

 private:
  static constexpr int kRegisters = 32;
  static constexpr int32_t kFree = -1, kTaken = -2;

  // What a first pass never loads the second does not store.
  void translate() {
    translate(true);
    std::vector<bool> needed(net_.signals());
    for (int32_t output : net_.outputs) needed[output] = true;
    for (int32_t s = 0; s < net_.signals(); ++s) needed[s] = needed[s] || loaded_[s];
    stored_ = std::move(needed);
    translate(false);
  }

  void translate(bool cut) {
    out_.bytes.clear(), starts_ = {0};
    if (cut) cut_.assign(net_.nodes.size(), false);
    loaded_.assign(net_.signals(), false), where_.assign(net_.signals(), -1), next_.assign(net_.signals(), 0);
    holds_.fill(kFree);
    for (size_t i = 0; i < net_.nodes.size(); ++i) {
      if (cut) cut_[i] = out_.bytes.size() - starts_.back() > limit_;
      if (cut_[i]) {
        out_.ret();
        starts_.push_back(out_.bytes.size());
        for (int32_t& held : holds_) {
          if (held >= 0) where_[held] = -1;
          held = kFree;
        }
      }
      translate(int32_t(i));
    }
  }

  void translate(int32_t index) {
    const Node& node = net_.nodes[index];
    pinned_ = 0;
    for (int p = 0; p < node.arity; ++p) {
      auto& next = next_[node.pins[p]];
      while (next < uses_[node.pins[p]].size() && uses_[node.pins[p]][next] <= index) ++next;
      if (where_[node.pins[p]] >= 0) pinned_ |= 1u << where_[node.pins[p]];
    }
    in_memory_ = -1;  // a signal that is read just once more needs no register
    for (int p = 0; p < node.arity; ++p)
      if (node.arity <= 3 && where_[node.pins[p]] < 0 && is_last(node, p)) in_memory_ = p;
    for (int p = 0; p < node.arity; ++p)
      if (p != in_memory_) fetch(node.pins[p]);
      else loaded_[node.pins[p]] = true;
    dag_.clear();
    build(node.table, node.arity);
    const int result = emit(node);
    for (int p = 0; p < node.arity; ++p)
      if (is_last(node, p)) release(where_[node.pins[p]]);
    const int32_t signal = net_.origin + index;
    if (stored_[signal]) out_.store(result, places_[signal]);
    holds_[result] = signal, where_[signal] = result;
    if (uses_[signal].empty()) release(result);
  }

  void fetch(int32_t signal) {
    if (where_[signal] < 0) {
      const int to = take();
      out_.load(to, places_[signal]);
      loaded_[signal] = true, holds_[to] = signal, where_[signal] = to;
    }
    pinned_ |= 1u << where_[signal];
  }

  // A register for a new value.
  int take() {
    int best = -1;
    int64_t farthest = -1;
    for (int r = 0; r < kRegisters; ++r) {
      if (holds_[r] == kFree) return holds_[r] = kTaken, r;
      if (holds_[r] == kTaken || pinned_ >> r & 1) continue;
      const int64_t next = uses_[holds_[r]][next_[holds_[r]]];
      if (next > farthest) best = r, farthest = next;
    }
    release(best);
    holds_[best] = kTaken;
    return best;
  }

  void release(int r) {
    if (r < 0) return;
    if (holds_[r] >= 0) where_[holds_[r]] = -1;
    holds_[r] = kFree;
  }

  // A value within a node: a table of up to three others, that are pins (below kPins) or earlier ones.
  struct Value {
    uint64_t function;  // that it is of the node's pins
    uint8_t table;
    int arity;
    std::array<int, 3> of;
    int readers, place;
  };

  // The values that a table takes, by splitting it at its highest pin; equal halves are computed once.
  int build(uint64_t table, int arity) {
    while (arity && !depends(table, arity - 1)) --arity;
    for (size_t v = 0; v < dag_.size(); ++v)
      if (dag_[v].function == table) return kPins + int(v);
    Value value{table, uint8_t(table), arity, {0, 1, 2}, 0, -1};
    for (int p = 0; p < arity; ++p)
      if (table == kAddressBit[p]) return p;
    if (arity > 3) {
      // A selection by the highest pin; a constant half, or one inverse to an earlier value, is put into the table.
      const int pin = arity - 1;
      const uint64_t high = high_half(table, pin), low = low_half(table, pin);
      value.of[0] = pin, value.arity = 1;
      value.table = 0;
      uint8_t one = 0, zero = 0;
      auto half = [&](uint64_t function) -> uint8_t {
        if (function == 0 || ~function == 0) return function ? 0xff : 0;
        for (size_t v = 0; v < dag_.size(); ++v)
          if (dag_[v].function == ~function) return ~operand(value, kPins + int(v));
        return operand(value, build(function, pin));
      };
      one = half(high), zero = half(low);
      value.table = (0xaa & one) | (0x55 & zero);
    }
    for (int k = 0; k < value.arity; ++k)
      if (value.of[k] >= kPins) ++dag_[value.of[k] - kPins].readers;
    dag_.push_back(value);
    return kPins + int(dag_.size()) - 1;
  }

  // The column of a value among the operands of another, which gets it as a new one if need be.
  static uint8_t operand(Value& value, int of) {
    static constexpr uint8_t kColumn[3] = {0xaa, 0xcc, 0xf0};
    for (int k = 0; k < value.arity; ++k)
      if (value.of[k] == of) return kColumn[k];
    value.of[value.arity] = of;
    return kColumn[value.arity++];
  }

  // The register of the result, of the last value.
  int emit(const Node& node) {
    for (Value& value : dag_) emit(node, value);
    return dag_.back().place;
  }

  void emit(const Node& node, Value& value) {
    int r[3] = {0, 0, 0}, spare = -1;  // an operand that nothing reads any more may be overwritten
    for (int k = 0; k < value.arity; ++k) {
      if (k == in_memory_) continue;
      const int of = value.of[k];
      r[k] = of < kPins ? where_[node.pins[of]] : dag_[of - kPins].place;
      const bool last = of < kPins ? dag_.size() == 1 && is_last(node, of) : --dag_[of - kPins].readers == 0;
      if (!last) continue;
      if (of < kPins) where_[node.pins[of]] = -1, holds_[r[k]] = kTaken;
      if (spare >= 0) unused_.push_back(r[k]);
      else spare = k;
    }
    const int any = in_memory_ == 0 ? 1 : 0;
    for (int k = value.arity; k < 3; ++k) r[k] = r[any];
    value.place = spare >= 0 ? r[spare] : take();
    if (!emit_simple(node, value, r)) {
      if (spare < 0) out_.move(value.place, r[spare = any]);
      // The overwritten operand is the highest address bit of the instruction's table, that in memory the lowest.
      const int c = in_memory_ >= 0 ? in_memory_ : spare == 2 ? 1 : 2, b = 3 - spare - c;
      const uint8_t table = permuted(value.table, spare, b, c);
      if (in_memory_ >= 0) out_.ternary_at(value.place, r[b], places_[node.pins[c]], table);
      else out_.ternary(value.place, r[b], r[c], table);
    }
    for (int reg : unused_) holds_[reg] = kFree;
    unused_.clear();
  }

  // One operation that needs no copy, if the table has one.
  bool emit_simple(const Node& node, const Value& value, const int* r) {
    const int table = value.arity == 2 ? value.table & 15 : 0;
    const uint8_t operation = simple_operation(table);
    const int first = table == 2 || (table != 4 && in_memory_ == 0);  // the one that andn inverts
    if (!operation || first == in_memory_) return false;
    if (in_memory_ >= 0) out_.binary_at(operation, value.place, r[first], places_[node.pins[in_memory_]]);
    else out_.binary(operation, value.place, r[first], r[1 - first]);
    return true;
  }

  // Whether no later node reads a pin.
  bool is_last(const Node& node, int pin) const { return next_[node.pins[pin]] == uses_[node.pins[pin]].size(); }

  // The operation that gives a two-input table without a copy; for andn the first operand is inverted.
  static uint8_t simple_operation(int t) {
    switch (t) {
      case 8: return 0xdb;          // and
      case 2: case 4: return 0xdf;  // andn
      case 14: return 0xeb;         // or
      case 6: return 0xef;          // xor
    }
    return 0;
  }

  static uint8_t permuted(uint8_t table, int high, int middle, int low) {
    uint8_t out = 0;
    for (int a = 0; a < 8; ++a)
      out |= (table >> ((a >> 2 & 1) << high | (a >> 1 & 1) << middle | (a & 1) << low) & 1) << a;
    return out;
  }

  const Netlist& net_;
  std::vector<Operand> places_;
  std::vector<bool> stored_, loaded_, cut_;  // of signals; of nodes: whether a piece begins there
  std::vector<std::vector<int32_t>> uses_;
  std::vector<uint32_t> next_;  // of a signal: its next use
  std::vector<int> where_;      // of a signal: its register, or -1
  std::array<int32_t, kRegisters> holds_;
  uint32_t pinned_ = 0;
  int in_memory_ = -1;  // the pin that the present node reads from there
  std::vector<Value> dag_;
  std::vector<int> unused_;
  std::vector<size_t> starts_;
  size_t limit_ = 0;
  Assembler out_;
};

#endif

}  // namespace difflut::engine
