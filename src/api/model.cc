#include "e2enet/model.h"

#include <utility>

#include "api/errors.h"
#include "model/flops.h"
#include "model/label_sides.h"
#include "model/model_file.h"
#include "tiles/volume_pipeline.h"

namespace e2enet {
namespace {

const Error kNoMemory(ErrorCode::out_of_memory, "no memory to load a model, or to count what it does");

}  // namespace

Model::Model(std::shared_ptr<const model::Network> network, const std::string& name)
    : network_(std::move(network)), name_(std::make_shared<const std::string>(name)) {}

Model Model::load(const std::string& path) {
  return with_errors(kNoMemory, [&] { return Model(model::load_model_file(path), path); });
}

Model Model::from_bytes(const void* bytes, std::size_t count, const std::string& name) {
  return with_errors(kNoMemory, [&] {
    if (!bytes) throw Error(ErrorCode::invalid_argument, name + ": bytes: expected those of a model file, found none");
    return Model(model::load_model(bytes, count, name), name);
  });
}

const std::string& Model::name() const { return *name_; }
int Model::input_channels() const { return network_->architecture().input_channels; }
int Model::classes() const { return network_->architecture().classes; }
std::array<int, 3> Model::patch_size() const { return network_->architecture().patch_size; }
const std::map<int, std::string>& Model::labels() const { return network_->configuration().labels; }
int Model::largest_label() const {
  return with_errors(kNoMemory, [&] { return tiles::largest_label(network_->configuration()); });
}
std::vector<SidePair> Model::side_pairs() const {
  return with_errors(kNoMemory, [&] { return model::side_pairs(network_->configuration()); });
}
std::int64_t Model::parameters() const {
  return with_errors(kNoMemory, [&] { return model::count_parameters(*network_); });
}
double Model::flops_paper() const {
  return with_errors(kNoMemory, [&] { return model::count_flops(*network_, patch_size()).paper; });
}
double Model::flops_executed() const {
  return with_errors(kNoMemory, [&] { return model::count_flops(*network_, patch_size()).executed; });
}
std::string Model::configuration_json() const {
  return with_errors(kNoMemory, [&] { return model::configuration_text(network_->configuration()); });
}

}  // namespace e2enet
