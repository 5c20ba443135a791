// Accesses of a warp to memory, arranged so that neighbouring threads find what they read in different banks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace difflut::engine {

// Pairs of banks, from each of which something is read, in groups of as many as there are banks: in a group each bank
// is read once first and once second, as far as that goes.
class Spread {
 public:
  explicit Spread(int banks) : banks_(banks), items_(banks * banks), first_(banks), second_(banks), reader_(banks) {}

  // Whether it is better read the other way round.
  bool swapped(int a, int b) const { return first_[b] + second_[a] < first_[a] + second_[b]; }

  void add(int32_t item, int a, int b) {
    items_[a * banks_ + b].push_back(item);
    ++first_[a], ++second_[b], ++count_;
  }

  std::vector<int32_t> order() {
    std::vector<int32_t> order;
    while (count_) {
      const size_t end = order.size() + std::min(banks_, count_);
      match();
      for (int b = 0; b < banks_; ++b)
        if (reader_[b] >= 0) take(reader_[b], b, order);
      while (order.size() < end) {  // conflicts, where no more pairs match
        int best = -1;
        for (int pair = 0; pair < banks_ * banks_; ++pair)
          if (!items_[pair].empty() && (best < 0 || left(pair) > left(best))) best = pair;
        take(best / banks_, best % banks_, order);
      }
    }
    return order;
  }

 private:
  // As many pairs as possible without a bank in common, those most in demand first (Kuhn's algorithm).
  void match() {
    std::vector<int> ranks(banks_);
    for (int a = 0; a < banks_; ++a) ranks[a] = a, reader_[a] = -1;
    std::sort(ranks.begin(), ranks.end(), [&](int a, int b) { return first_[a] > first_[b]; });
    for (int a : ranks) {
      std::vector<char> seen(banks_);
      find(a, seen);
    }
  }

  bool find(int a, std::vector<char>& seen) {
    for (;;) {
      int best = -1;
      for (int b = 0; b < banks_; ++b)
        if (!seen[b] && !items_[a * banks_ + b].empty() && (best < 0 || second_[b] > second_[best])) best = b;
      if (best < 0) return false;
      seen[best] = true;
      if (reader_[best] < 0 || find(reader_[best], seen)) return reader_[best] = a, true;
    }
  }

  int left(int pair) const { return first_[pair / banks_] + second_[pair % banks_]; }

  void take(int a, int b, std::vector<int32_t>& order) {
    auto& some = items_[a * banks_ + b];
    order.push_back(some.back()), some.pop_back();
    --first_[a], --second_[b], --count_;
  }

  int banks_, count_ = 0;
  std::vector<std::vector<int32_t>> items_;  // of each pair
  std::vector<int> first_, second_;          // items left of each bank
  std::vector<int> reader_;                  // for each second bank the first one, or -1
};

// The same places, neighbours in different banks.
inline std::vector<int32_t> dealt(const std::vector<int32_t>& places, int64_t banks) {
  std::vector<std::vector<int32_t>> by_bank(banks);
  for (int32_t place : places) by_bank[place % banks].push_back(place);
  std::vector<int32_t> order;
  while (order.size() < places.size())
    for (auto& some : by_bank)
      if (!some.empty()) order.push_back(some.back()), some.pop_back();
  return order;
}

}  // namespace difflut::engine
