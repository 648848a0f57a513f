// How sure a mean over cases is: intervals by drawing the cases anew.
#pragma once

#include <vector>

namespace e2enet::cli {

struct Interval {
  double low = 0;
  double high = 0;
};

// The 95% percentile interval of the mean of `values` (Efron's bootstrap): 10 000 times as many values are drawn from
// them, with replacement, and the interval holds the middle 95% of the means. For the difference of two models on the
// same cases give each case's difference: paired, so that what is hard for both does not count. The draws are the same
// on every call and machine. Of no value or one, which say nothing of how cases differ, both bounds are NaN.
Interval bootstrap_interval(const std::vector<double>& values);

}  // namespace e2enet::cli
