// Group sums and the best class, bit-sliced: bit p of the counts of all samples of a block is one vector.
#pragma once

#include "engine_interpret.h"
#include "engine_reduce.h"

namespace difflut::engine {

constexpr int kDigits = 32;  // most binary digits of a count: no network has 2**32 outputs

// acc + a + b: the sum stays in acc, the carry is returned.
template <class B>
inline __attribute__((always_inline)) B add(B& acc, B a, B b) {
  const B before = acc;
  acc = three<0x96>(before, a, b);
  return three<0xe8>(before, a, b);
}

class Counter {
 public:
  // The places of each kind of vote are padded to sixteens.
  explicit Counter(std::vector<Votes> votes) : votes_(std::move(votes)) {
    int64_t most = 1;
    for (const Votes& votes : votes_)
      most = std::max<int64_t>(most, votes.bias + votes.plain.size() + votes.inverted.size());
    while (most >> digits_) ++digits_;
  }

  int64_t classes() const { return int64_t(votes_.size()); }

  // digits[classes][kDigits] of a block. Place `zero` holds zeros, the next one ones.
  template <int Words>
  void count(const uint64_t* signals, Block<Words>* digits) const {
    const auto* s = reinterpret_cast<const Block<Words>*>(signals);
    for (const Votes& votes : votes_) {
      for (int p = 0; p < kDigits; ++p) digits[p] = Block<Words>{} - uint64_t(votes.bias >> p & 1);
      add_all<Words, false>(s, votes.plain, digits);
      add_all<Words, true>(s, votes.inverted, digits);
      digits += kDigits;
    }
  }

  // The first `samples` classes of a block; of equal counts the lowest class.
  template <int Words>
  void best(const Block<Words>* digits, int64_t samples, int64_t* classes) const {
    using B = Block<Words>;
    B best[kDigits], index[kDigits] = {};
    int bits = 1;
    while (votes_.size() > 1ull << bits) ++bits;
    std::copy(digits, digits + digits_, best);
    for (size_t c = 1; c < votes_.size(); ++c) {
      const B* count = digits + c * kDigits;
      B more = {};
      for (int p = 0; p < digits_; ++p) more = three<0xd4>(best[p], more, count[p]);
      for (int p = 0; p < digits_; ++p) best[p] = mux(more, count[p], best[p]);
      for (int q = 0; q < bits; ++q) index[q] = c >> q & 1 ? index[q] | more : index[q] & ~more;
    }
    spread<Words>(index, bits, samples, 1, classes);
  }

  // counts[samples][classes], the bias included.
  template <int Words>
  void write(const Block<Words>* digits, int64_t samples, int64_t* counts) const {
    for (int64_t c = 0; c < classes(); ++c)
      spread<Words>(digits + c * kDigits, digits_, samples, classes(), counts + c);
  }

 private:
  template <int Words, bool Inverted>
  void add_all(const Block<Words>* s, const std::vector<int32_t>& places, Block<Words>* digits) const {
    using B = Block<Words>;
    B one = digits[0], two = digits[1], four = digits[2], eight = digits[3];
    for (size_t i = 0; i < places.size(); i += 16) {
      auto vote = [&](int k) { return Inverted ? ~s[places[i + k]] : s[places[i + k]]; };
      B carries[2], fours[2], eights[2];
      for (int half = 0; half < 2; ++half) {
        for (int quarter = 0; quarter < 2; ++quarter) {
          const int k = 8 * half + 4 * quarter;
          for (int pair = 0; pair < 2; ++pair) carries[pair] = add(one, vote(k + 2 * pair), vote(k + 2 * pair + 1));
          fours[quarter] = add(two, carries[0], carries[1]);
        }
        eights[half] = add(four, fours[0], fours[1]);
      }
      B carry = add(eight, eights[0], eights[1]);
      for (int p = 4; p < digits_; ++p) {
        const B both = digits[p] & carry;
        digits[p] ^= carry, carry = both;
      }
    }
    digits[0] = one, digits[1] = two, digits[2] = four, digits[3] = eight;
  }

  // out[stride * i]: the number whose bits are bit i of digits[0], digits[1], …
  template <int Words>
  static void spread(const Block<Words>* digits, int count, int64_t samples, int64_t stride, int64_t* out) {
    const auto* words = reinterpret_cast<const uint64_t*>(digits);
    for (int64_t start = 0; start < samples; start += 64) {
      int64_t numbers[64] = {};
      for (int p = 0; p < count; ++p) {
        const uint64_t word = words[p * Words + start / 64];
        for (int i = 0; i < 64; ++i) numbers[i] |= int64_t(word >> i & 1) << p;
      }
      for (int64_t i = 0; i < std::min<int64_t>(64, samples - start); ++i) out[(start + i) * stride] = numbers[i];
    }
  }

  std::vector<Votes> votes_;
  int digits_ = 1;
};

}  // namespace difflut::engine
