// How the tasks' gradients agree over a training, as a picture.
#pragma once

#include <filesystem>
#include <string>

#include "vierbein/train/insight.hpp"

namespace compare_weightings {

/// A heat map: a row for each pair of tasks, time from left to right, the cosine of the pair's
/// gradients as colour (blue: they agree, red: they conflict; the mean over the steps of a cell),
/// and below it the share of pairs in conflict. Throws when no step was noted.
void write_cosines(const std::filesystem::path& file, const vierbein::training_course& course,
                   const std::string& title);

}  // namespace compare_weightings
