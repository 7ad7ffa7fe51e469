// A policy that weighs every part of the shared parameters by itself.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// Runs one copy of the gram_based policy `inner` on each group of segments of the shared
/// parameters: with J_g (T, P_g) the columns of group g,
///     w_g = inner(ℓ, J_g J_gᵀ),     d_g = J_gᵀ w_g,
/// as GradVac (Wang, Tsvetkov, Firat and Cao 2021) does with whole model, encoder and decoder,
/// layer or tensor. `groups` are prefixes of names, such as {"trunk/layer0/", "trunk/layer1/"}; a
/// segment belongs to the first that fits, and those that fit none form a last group. Without
/// `groups` each layer is one: all segments whose names agree up to the last slash. J Jᵀ is formed
/// in double.
///
/// The tasks' own parameters get w_g averaged over the groups, each counting as much as it has
/// parameters. Memory: T × P for J, as for every gradient_based policy.
template <class Inner>
struct group_wise {
  static_assert(GramBasedWeighting<Inner> && gram_batches<Inner> == 1,
                "group_wise needs a gram_based weighting policy of one batch");
  using weighting_kind = gradient_based;
  static constexpr bool fixed_columns = true;

  Inner inner = {};
  std::vector<std::string> groups = {};

  struct group {
    std::string name;
    Inner policy;
    std::vector<gradient_columns> columns = {};
    matrix<double> gram = {};
    std::vector<double> value = {};  ///< (T)
    double size = 0;                 ///< number of parameters
  };
  named_tasks tasks = {};         ///< set by `reset`
  std::vector<group> parts = {};  ///< set by `layout`

  void reset(const std::vector<std::string>& names) {
    tasks.begin(names);
    parts.clear();
  }

  /// Throws when a group has no segment.
  void layout(std::span<const gradient_columns> segments) {
    parts.clear();
    for (const std::string& name : groups) {
      open(name);
    }
    for (const gradient_columns& s : segments) {
      group& g = open(group_of(s.segment));
      g.columns.push_back(s);
      g.size += static_cast<double>(s.count);
    }
    for (const group& g : parts) {
      require(!g.columns.empty(), "weighting::group_wise",
              "no shared parameter has a name that begins with '{}'", g.name);
    }
  }

  template <Scalar T>
  void combine(losses l, matrix_view<const T> j, std::span<T> d) {
    require(!parts.empty(), "weighting::group_wise", "no layout of the parameters was given");
    tasks.require_rows<T>(l, j, d, "weighting::group_wise");
    std::fill(d.begin(), d.end(), T{0});
    for (group& g : parts) {
      std::fill_n(g.gram.data(), g.gram.size(), 0.0);
      for (const gradient_columns& c : g.columns) {
        add_products(l, j.col_range(c.first, c.count), g.gram);
      }
      g.policy.weigh(l, gram_matrix(g.gram.view()), g.value);
      for (const gradient_columns& c : g.columns) {
        weighted_rows<T>(
            g.value, j.col_range(c.first, c.count),
            d.subspan(static_cast<std::size_t>(c.first), static_cast<std::size_t>(c.count)));
      }
    }
  }

  void worth(weights w) const {
    double total = 0;
    std::fill(w.begin(), w.end(), 0.0);
    for (const group& g : parts) {
      total += g.size;
      for (std::size_t t = 0; t < w.size(); ++t) {
        w[t] += g.size * g.value[t];
      }
    }
    for (double& v : w) {
      v /= total;
    }
  }

  void observe(losses l)
    requires Observes<Inner>
  {
    for (group& g : parts) {
      g.policy.observe(l);
    }
  }
  void end_epoch(std::span<const double> means)
    requires requires(Inner& p) { p.end_epoch(means); }
  {
    for (group& g : parts) {
      g.policy.end_epoch(means);
    }
  }

 private:
  [[nodiscard]] std::string group_of(const std::string& segment) const {
    for (const std::string& prefix : groups) {
      if (segment.starts_with(prefix)) {
        return prefix;
      }
    }
    return groups.empty() ? segment.substr(0, segment.rfind('/')) : std::string("the rest");
  }

  group& open(const std::string& name) {
    const auto found =
        std::find_if(parts.begin(), parts.end(), [&](const group& g) { return g.name == name; });
    if (found != parts.end()) {
      return *found;
    }
    const auto n = static_cast<index_t>(tasks.size());
    parts.push_back({name, inner, {}, matrix<double>(n, n), std::vector<double>(tasks.size())});
    weighting::reset(parts.back().policy, tasks.names);
    return parts.back();
  }

  template <Scalar T>
  void add_products(losses l, matrix_view<const T> j, matrix<double>& gram) const {
    constexpr index_t lanes = 8;
    for (index_t s = 0; s < j.rows; ++s) {
      for (index_t t = 0; t <= s && l.has(static_cast<std::size_t>(s)); ++t) {
        if (!l.has(static_cast<std::size_t>(t))) {
          continue;
        }
        const T* a = j.row(s);
        const T* b = j.row(t);
        double sums[lanes] = {};
        for (index_t k = 0; k < j.cols; ++k) {
          sums[k % lanes] += static_cast<double>(a[k]) * static_cast<double>(b[k]);
        }
        double total = 0;
        for (const double v : sums) {
          total += v;
        }
        gram(s, t) += total;
        gram(t, s) = gram(s, t);
      }
    }
  }
};

template <class Inner>
group_wise(Inner, std::vector<std::string>) -> group_wise<Inner>;
template <class Inner>
group_wise(Inner) -> group_wise<Inner>;

}  // namespace vierbein::weighting
