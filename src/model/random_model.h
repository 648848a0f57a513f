// Model files with random weights of a given architecture and density, for benchmarks and tests.
#pragma once

#include <cstdint>
#include <string>

namespace e2enet::model {

// `configuration_text` is the JSON of `random --config`: the architecture keys of docs/model-file.md, and `density`
// (kept fraction of every sparse layer's kernels, default 0.2) and, optional, `fusion_density_by_level` ({"0": 0.2}:
// for the fusion convolutions of that level instead). The same text and seed give the same bytes. Throws Error.
void write_random_model(const std::string& configuration_text, const std::string& source, std::uint64_t seed,
                        const std::string& path);

}  // namespace e2enet::model
