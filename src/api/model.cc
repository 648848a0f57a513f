#include "e2enet/model.h"

#include <utility>

#include "api/errors.h"
#include "model/flops.h"
#include "model/model_file.h"

namespace e2enet {
namespace {

const Error kNoMemory(ErrorCode::out_of_memory, "no memory to load a model, or to count what it does");

}  // namespace

Model::Model(std::shared_ptr<const model::Network> network) : network_(std::move(network)) {}

Model Model::load(const std::string& path) {
  return with_errors(kNoMemory, [&] { return Model(model::load_model_file(path)); });
}

int Model::input_channels() const { return network_->architecture().input_channels; }
int Model::classes() const { return network_->architecture().classes; }
std::array<int, 3> Model::patch_size() const { return network_->architecture().patch_size; }
const std::map<int, std::string>& Model::labels() const { return network_->configuration().labels; }
std::int64_t Model::parameters() const {
  return with_errors(kNoMemory, [&] { return model::count_parameters(*network_); });
}
double Model::flops_paper() const {
  return with_errors(kNoMemory, [&] { return model::count_flops(*network_, patch_size()).paper; });
}
double Model::flops_executed() const {
  return with_errors(kNoMemory, [&] { return model::count_flops(*network_, patch_size()).executed; });
}

}  // namespace e2enet
