// The inference engine on a CPU: rows of numbers to classes, a block of samples at a time in vectors of bits.
#include <numeric>

#include "engine_chunks.h"
#include "engine_cones.h"
#include "engine_count.h"
#include "engine_encode.h"
#include "engine_levels.h"
#include "engine_reduce.h"

namespace difflut::engine {

constexpr size_t kNearestCache = 24 << 10;  // bytes: a first-level cache of 32 KiB for instructions, less some room
constexpr size_t kNearCache = 768 << 10;    // bytes: a second-level cache of 1 MiB, less some room
#ifndef DIFFLUT_MOST_CODE
#define DIFFLUT_MOST_CODE 4 << 20
#endif
// Bytes of machine code where each node has its own. More code would be fetched from far memory at every block.
constexpr size_t kMostCode = (DIFFLUT_MOST_CODE);
constexpr int kMostBlocks = 8;  // blocks of samples for which a piece of code is fetched once
constexpr int kAbsorbed = 3;    // inputs that one AVX-512 instruction (vpternlog) combines

// Words of the widest block that a register holds.
#ifdef DIFFLUT_ENGINE_AVX512
constexpr int kWidest = 8;
#elif defined(__AVX2__)
constexpr int kWidest = 4;
#else
constexpr int kWidest = 1;
#endif

// Room that each thread keeps: the page faults of fresh memory would take longer than a small batch.
inline uint64_t* scratch(size_t words) {
  static thread_local std::vector<uint64_t> room;
  if (room.size() < words) room.resize(words);
  return room.data();
}

// An estimate of the bytes of machine code that a netlist takes, with 8 bytes for an instruction.
inline size_t code_size(const Netlist& net) {
  size_t instructions = 0;
  for (const Node& node : net.nodes) instructions += node.arity + (2 << std::max(node.arity - 3, 0));
  return 8 * instructions;
}

class Engine {
 public:
  explicit Engine(const Plan& plan) : words_(int(plan.words)), encoder_(plan) {
    Netlist net = netlist(plan);
    const std::vector<Alias> counted = reduce(net, kAbsorbed);
    nodes_ = int64_t(net.nodes.size());
    const bool small = code_size(net) <= kMostCode;
    if (plan.assemble && (words_ == 8 || (!words_ && kWidest == 8)))
      small ? assemble(net, plan, counted) : group(net, plan, counted);
    if (assembled()) return;
    if (!words_) words_ = small ? kWidest : std::min(kWidest, 4);  // few signals of wide blocks fit a cache
    Netlist by_depth = net;
    reorder(by_depth, order_by_kind(net, {}));
    const bool near = size_t(Places(by_depth).count) * 8 * words_ <= kNearCache;
    reorder(net, order_by_kind(net, near ? std::vector<int32_t>{} : last_parts(net, plan.part)));
    const Places places(net);
    std::vector<int32_t> all(net.nodes.size());
    std::iota(all.begin(), all.end(), 0);
    interpreter_ = std::make_unique<Interpreter>(net, all, [&](int32_t signal) { return places.of[signal]; });
    finish(net, places.count, [&](int32_t signal) { return places.of[signal]; }, plan, counted);
  }

  bool assembled() const { return !code_.empty() || !grouped_.empty(); }
  int words() const { return words_; }
  int64_t nodes() const { return nodes_; }

  template <class T>
  void run(const T* x, int64_t rows, int64_t* classes, int64_t* counts, int64_t threads) const {
    if (words_ == 8) run<8>(x, rows, classes, counts, threads);
    else if (words_ == 4) run<4>(x, rows, classes, counts, threads);
    else run<1>(x, rows, classes, counts, threads);
  }

 private:
  void assemble(Netlist net, const Plan& plan, const std::vector<Alias>& counted) {
    (void)net, (void)plan, (void)counted;
#ifdef DIFFLUT_ENGINE_ASSEMBLES
    reorder(net, Walk(net).order());
    const Places places(net);
    const int blocks = int(std::clamp<size_t>(kNearCache / (64 * size_t(places.count)), 1, kMostBlocks));
    std::vector<Operand> operands;
    for (int32_t place : places.of) operands.push_back({place, kRdi});
    Compiler(net, std::move(operands)).compile(blocks > 1 ? kNearestCache : SIZE_MAX, code_);
    if (code_.empty()) return;
    words_ = 8, blocks_ = blocks;
    finish(net, places.count, [&](int32_t signal) { return places.of[signal]; }, plan, counted);
#endif
  }

  void group(const Netlist& net, const Plan& plan, const std::vector<Alias>& counted) {
    (void)net, (void)plan, (void)counted;
#ifdef DIFFLUT_ENGINE_ASSEMBLES
    grouped_.make(net);
    if (grouped_.empty()) return;
    words_ = 8, more_ = Grouped::kScratch;
    finish(net, grouped_.places(), [&](int32_t s) { return s < net.origin ? s : net.nodes[s - net.origin].origin; },
           plan, counted);
#endif
  }

  template <class Place>
  void finish(const Netlist& net, int32_t places, Place place, const Plan& plan, const std::vector<Alias>& counted) {
    places_ = places;
    size_t next = 0;  // reordering renumbered the signals; net.outputs has the new numbers
    std::vector<Votes> votes = count_by_class(plan, counted, [&](int32_t) { return place(net.outputs[next++]); });
    for (Votes& of : votes) {
      of.plain.resize((of.plain.size() + 15) / 16 * 16, places_);
      of.inverted.resize((of.inverted.size() + 15) / 16 * 16, places_ + 1);
    }
    counter_ = Counter(std::move(votes));
  }

  template <int Words, class T>
  void run(const T* x, int64_t rows, int64_t* classes, int64_t* counts, int64_t threads) const {
    const int64_t block = 64 * Words, step = block * blocks_;
    const size_t signals = size_t(places_ + 2 + more_) * Words, digits = counter_.classes() * kDigits * Words;
#pragma omp parallel num_threads(threads) if (rows > step)
    {
      const size_t size = signals * blocks_ + digits + encoder_.room() + 8;
      auto* room = reinterpret_cast<uint64_t*>((reinterpret_cast<uintptr_t>(scratch(size)) + 63) & ~uintptr_t(63));
      uint64_t* s = room + encoder_.room();
      auto* count = reinterpret_cast<Block<Words>*>(s + signals * blocks_);
      for (int b = 0; b < blocks_; ++b) {
        std::fill_n(s + signals * b + size_t(places_) * Words, Words, 0);
        std::fill_n(s + signals * b + size_t(places_ + 1) * Words, Words, ~0ull);
      }
#pragma omp for schedule(dynamic)
      for (int64_t first = 0; first < rows; first += step) {
        const int used = int(std::min<int64_t>(blocks_, (rows - first + block - 1) / block));
        for (int b = 0; b < used; ++b)
          encoder_.template operator()<Words>(x, first + b * block, rows, s + signals * b, room);
        evaluate<Words>(s, signals, used);
        for (int b = 0; b < used; ++b) {
          const int64_t start = first + b * block, samples = std::min(block, rows - start);
          counter_.count<Words>(s + signals * b, count);
          if (classes) counter_.best<Words>(count, samples, classes + start);
          if (counts) counter_.write<Words>(count, samples, counts + start * counter_.classes());
        }
      }
    }
  }

  template <int Words>
  void evaluate(uint64_t* signals, size_t stride, int blocks) const {
    if (!grouped_.empty()) return grouped_(signals);
    if (code_.empty())
      for (int b = 0; b < blocks; ++b) (*interpreter_).template operator()<Words>(signals + stride * b);
    for (Code::Function function : code_.functions())  // each stays in the nearest cache for all blocks
      for (int b = 0; b < blocks; ++b) function(signals + stride * b);
  }

  int words_, blocks_ = 1;
  int64_t places_ = 0, more_ = 0, nodes_ = 0;
  Encoder encoder_;
  Counter counter_{{}};
  Code code_;
  Grouped grouped_;
  std::unique_ptr<Interpreter> interpreter_;
};

extern "C" {

void* difflut_engine_create(const Plan* plan) { return new Engine(*plan); }

void difflut_engine_destroy(void* engine) { delete static_cast<Engine*>(engine); }

int difflut_engine_assembled(const void* engine) { return static_cast<const Engine*>(engine)->assembled(); }

// Number of nodes after the passes of `reduce`.
int64_t difflut_engine_nodes(const void* engine) { return static_cast<const Engine*>(engine)->nodes(); }

// Number of 64-bit words in a block of samples.
int64_t difflut_engine_words(const void* engine) { return static_cast<const Engine*>(engine)->words(); }

// x[rows][features]: numbers of `size` bytes, which are pixels, floats or doubles, taken as floats. Either result may
// be null: classes[rows], counts[rows][classes].
void difflut_engine_run(const void* engine, const void* x, int64_t size, int64_t rows, int64_t* classes,
                        int64_t* counts, int64_t threads) {
  const auto& with = *static_cast<const Engine*>(engine);
  if (size == 1) with.run(static_cast<const uint8_t*>(x), rows, classes, counts, threads);
  else if (size == 8) with.run(static_cast<const double*>(x), rows, classes, counts, threads);
  else with.run(static_cast<const float*>(x), rows, classes, counts, threads);
}

// Makes the chunks of a netlist for a GPU, ordered by parts of the input or not, and tells the size of each array.
void* difflut_engine_chunks(const Plan* plan, int64_t threads, int64_t step, int64_t banks, int64_t by_part,
                            int64_t* sizes) {
  auto* chunks = new Chunks(cut(*plan, threads, step, banks, by_part));
  const int64_t found[] = {chunks->places, int64_t(chunks->chunks.size()), int64_t(chunks->code.size()),
                           int64_t(chunks->votes.size())};
  std::copy(std::begin(found), std::end(found), sizes);
  return chunks;
}

// Copies them and ends their life.
void difflut_engine_take_chunks(void* from, uint64_t* chunks, uint64_t* code, int32_t* votes, int32_t* start,
                                int32_t* bias) {
  const std::unique_ptr<Chunks> of(static_cast<Chunks*>(from));
  static_assert(sizeof(Chunks::Chunk) == sizeof *chunks);
  std::memcpy(chunks, of->chunks.data(), of->chunks.size() * sizeof *chunks);
  std::copy(of->code.begin(), of->code.end(), code);
  std::copy(of->votes.begin(), of->votes.end(), votes);
  std::copy(of->start.begin(), of->start.end(), start);
  std::copy(of->bias.begin(), of->bias.end(), bias);
}

// Makes the levels of a netlist for a GPU, and tells the size of each array.
void* difflut_engine_levels(const Plan* plan, int64_t* sizes) {
  auto* found = new Levels(levels(*plan));
  const int64_t sized[] = {int64_t(found->groups.size()), int64_t(found->pins.size()), int64_t(found->tables.size()),
                           int64_t(found->votes.size())};
  std::copy(std::begin(sized), std::end(sized), sizes);
  return found;
}

// Copies them and ends their life.
void difflut_engine_take_levels(void* from, int64_t* groups, int32_t* pins, uint64_t* tables, int32_t* votes,
                                int32_t* start, int32_t* bias) {
  const std::unique_ptr<Levels> of(static_cast<Levels*>(from));
  std::memcpy(groups, of->groups.data(), of->groups.size() * sizeof(Levels::Group));
  std::copy(of->pins.begin(), of->pins.end(), pins);
  std::copy(of->tables.begin(), of->tables.end(), tables);
  std::copy(of->votes.begin(), of->votes.end(), votes);
  std::copy(of->start.begin(), of->start.end(), start);
  std::copy(of->bias.begin(), of->bias.end(), bias);
}

}  // extern "C"

}  // namespace difflut::engine
