// Which weighting policy has which property: measured by the library's own conformance suite and
// printed as a table in Markdown. No options; a few seconds.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/testing/check_weighting.hpp"
#include "vierbein/vierbein.hpp"

namespace {

namespace vb = vierbein;
namespace weighting = vierbein::weighting;
using vierbein::testing::weighting_check;
using vierbein::testing::weighting_checks;
using vierbein::testing::weighting_report;
using vierbein::testing::weighting_verdict;

const std::vector<std::pair<const char*, const char*>> properties{
    {"non-conflicting", "non-conflicting"},
    {"permutation invariant", "permutation invariant"},
    {"linear under scaling", "linear under scaling"},
    {"strongly stationary", "strongly stationary"},
    {"homogeneous", "homogeneous"},
    {"convex weights", "convex weights"},
    {"descent", "descent"},
    {"convergence", "convergence"}};

/// ✓ or ✗ by the measurement, with the greatest violation seen; in bold what the policy claims.
std::string cell(const weighting_report& report, const char* name) {
  const weighting_check* const check = report.find(name);
  if (check == nullptr || !check->measured) {
    return "–";
  }
  const bool claimed = check->verdict != weighting_verdict::not_claimed;
  const bool holds = check->worst <= check->allowed;
  const std::string mark = holds ? "✓" : "✗";
  const bool counts = std::string(name) != "strongly stationary" && std::string(name) != "descent";
  const std::string size = counts && check->worst > 0 ? fmt::format(" {:.0e}", check->worst) : "";
  return claimed ? "**" + mark + "**" + size : mark + size;
}

int failed = 0;

template <class P>
void row(const char* name, P policy, weighting_checks options = {}) {
  options.measure_all = true;
  std::string degree;
  if constexpr (weighting::HasTraits<P>) {
    const auto k = policy.traits().homogeneity;
    degree = k ? fmt::format("{:.3g}", *k) : "";
  }
  const weighting_report report = vb::testing::check_weighting(std::move(policy), options);
  fmt::print("| {} |", name);
  for (const auto& property : properties) {
    fmt::print(" {} |", cell(report, property.first));
  }
  std::string others;
  for (const std::string& failure : report.failures()) {
    others += (others.empty() ? "" : ", ") + failure;
    ++failed;
  }
  fmt::print(" {} | {} |\n", degree, others.empty() ? "none" : others);
  if (!report) {
    fmt::print(stderr, "{}: {}\n", name, report.text());
  }
}

}  // namespace

int main() {
  fmt::print("| policy |");
  for (const auto& property : properties) {
    fmt::print(" {} |", property.second);
  }
  fmt::print(" degree | failures |\n|---|");
  for (std::size_t i = 0; i < properties.size() + 2; ++i) {
    fmt::print("---|");
  }
  fmt::print("\n");
  row("equal", weighting::equal{});
  row("mean", weighting::mean{});
  row("constant", weighting::constant{{2, 0.5, 1}}, {.fewest_tasks = 3, .most_tasks = 3});
  row("single_task", weighting::single_task{.target = "main"});
  row("rlw", weighting::rlw{});
  row("uncertainty", weighting::uncertainty{});
  row("imtl_l", weighting::imtl_l{});
  row("dwa", weighting::dwa{});
  row("gls", weighting::gls{});
  row("si", weighting::si{});
  row("stch", weighting::stch{});
  row("cosmos", weighting::cosmos{});
  row("pbi", weighting::pbi{});
  row("famo", weighting::famo{});
  row("gradnorm", weighting::gradnorm{});
  row("mgda", weighting::mgda{});
  row("pcgrad", weighting::pcgrad{});
  row("gradvac", weighting::gradvac{});
  row("cagrad, c = 0.4", weighting::cagrad{});
  row("cagrad, c = 1", weighting::cagrad{.c = 1});
  row("imtl_g", weighting::imtl_g{});
  row("nash_mtl", weighting::nash_mtl{});
  row("fairgrad, a = 2", weighting::fairgrad{.a = 2});
  row("aligned_mtl", weighting::aligned_mtl{});
  row("dual_proj", weighting::dual_proj{});
  row("upgrad", weighting::upgrad{});
  row("config", weighting::config{});
  row("krum", weighting::krum{}, {.fewest_tasks = 4});
  row("db_mtl", weighting::db_mtl{});
  row("modo", weighting::modo<>{});
  row("sdmgrad", weighting::sdmgrad{}, {.float_tolerance = 1e-2});
  row("rotograd", weighting::rotograd{});
  row("graddrop", weighting::graddrop{});
  row("trimmed_mean", weighting::trimmed_mean{}, {.fewest_tasks = 3});
  row("excess_mtl", weighting::excess_mtl{});
  row("moco", weighting::moco{});
  row("db_mtl_ema", weighting::db_mtl_ema{});
  row("gcs", weighting::gcs{.target = "main"});
  row("ol_aux", weighting::ol_aux{.target = "main"});
  row("arml", weighting::arml{.target = "main"});
  row("primary_pcgrad", weighting::primary_pcgrad{.target = "main"});
  row("primary_gradvac", weighting::primary_gradvac{.target = "main"});
  row("cr_mogm of mgda", weighting::cr_mogm<weighting::mgda>{});
  row("normalise (l2) of mgda", weighting::normalise{.policy = weighting::mgda{}});
  row("clip (norm) of upgrad", weighting::clip{.policy = weighting::upgrad{}, .norm = 0.1});
  return failed == 0 ? 0 : 1;
}
