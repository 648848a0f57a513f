#include <algorithm>
#include <cstring>
#include <utility>

#include "api/errors.h"
#include "e2enet/e2enet.h"
#include "e2enet/e2enet_c.h"

struct e2enet_model {
  e2enet::Model model;
};

struct e2enet_segmenter {
  e2enet::Segmenter segmenter;
  bool probabilities;
  std::string remarks;
};

namespace {

const e2enet::Error kNoMemory(e2enet::ErrorCode::out_of_memory, "no memory for the library's own objects");

// An array and not a string: where there is no memory, the message that says so must not ask for any, neither for
// itself nor for its end with the thread. Longer messages are cut.
thread_local char last_error[4096];

e2enet_status status_of(e2enet::ErrorCode code) {
  switch (code) {
    case e2enet::ErrorCode::invalid_argument:
      return E2ENET_INVALID_ARGUMENT;
    case e2enet::ErrorCode::cannot_read:
      return E2ENET_CANNOT_READ;
    case e2enet::ErrorCode::cannot_write:
      return E2ENET_CANNOT_WRITE;
    case e2enet::ErrorCode::invalid_model:
      return E2ENET_INVALID_MODEL;
    case e2enet::ErrorCode::invalid_image:
      return E2ENET_INVALID_IMAGE;
    case e2enet::ErrorCode::out_of_memory:
      return E2ENET_OUT_OF_MEMORY;
    case e2enet::ErrorCode::memory_limit:
      return E2ENET_MEMORY_LIMIT;
    case e2enet::ErrorCode::cancelled:
      return E2ENET_CANCELLED;
    case e2enet::ErrorCode::internal:
      return E2ENET_INTERNAL;
  }
  return E2ENET_INTERNAL;
}

e2enet_status failed(e2enet_status status, const char* message) noexcept {
  std::strncpy(last_error, message, sizeof last_error - 1);
  return status;
}

// No exception may leave a function that C calls.
template <typename Function>
e2enet_status guarded(const Function& function) noexcept {
  try {
    e2enet::with_errors(kNoMemory, function);
    return E2ENET_OK;
  } catch (const e2enet::Error& error) {
    return failed(status_of(error.code()), error.what());
  } catch (...) {
    return failed(E2ENET_INTERNAL, "an unknown exception");
  }
}

void require(bool condition, const char* message) {
  if (!condition) throw e2enet::Error(e2enet::ErrorCode::invalid_argument, message);
}

e2enet::LargestComponent largest_component_of(int value) {
  switch (value) {
    case E2ENET_LARGEST_COMPONENT_MODEL:
      return e2enet::LargestComponent::model;
    case E2ENET_LARGEST_COMPONENT_NONE:
      return e2enet::LargestComponent::none;
    case E2ENET_LARGEST_COMPONENT_ALL:
      return e2enet::LargestComponent::all;
    default:
      throw e2enet::Error(e2enet::ErrorCode::invalid_argument,
                          "options.largest_component: expected E2ENET_LARGEST_COMPONENT_MODEL, _ALL or _NONE (0 to 2), "
                          "found " +
                              std::to_string(value));
  }
}

}  // namespace

extern "C" {

const char* e2enet_last_error(void) { return last_error; }

e2enet_status e2enet_model_load(const char* path, e2enet_model** model) {
  return guarded([&] {
    require(model, "e2enet_model_load: model: expected a place for the result, found NULL");
    *model = nullptr;
    require(path, "e2enet_model_load: path: expected a file's name, found NULL");
    *model = new e2enet_model{e2enet::Model::load(path)};
  });
}

void e2enet_model_free(e2enet_model* model) { delete model; }

int e2enet_model_input_channels(const e2enet_model* model) { return model->model.input_channels(); }
int e2enet_model_classes(const e2enet_model* model) { return model->model.classes(); }

void e2enet_model_patch_size(const e2enet_model* model, int patch_size[3]) {
  const auto size = model->model.patch_size();
  std::copy(size.begin(), size.end(), patch_size);
}

const char* e2enet_model_label_name(const e2enet_model* model, int value) {
  const auto& labels = model->model.labels();
  const auto at = labels.find(value);
  return at == labels.end() ? nullptr : at->second.c_str();
}

void e2enet_options_default(e2enet_options* options) {
  const e2enet::Options defaults;
  options->threads = defaults.threads;
  options->bf16 = defaults.precision == e2enet::Precision::bf16;
  options->step = defaults.step;
  options->mirror = defaults.mirror;
  options->largest_component = E2ENET_LARGEST_COMPONENT_MODEL;
  options->probabilities = defaults.probabilities;
  options->allow_implausible_spacing = defaults.allow_implausible_spacing;
}

e2enet_status e2enet_segmenter_create(const e2enet_model* model, const e2enet_options* options,
                                      e2enet_segmenter** segmenter) {
  return guarded([&] {
    require(segmenter, "e2enet_segmenter_create: segmenter: expected a place for the result, found NULL");
    *segmenter = nullptr;
    require(model, "e2enet_segmenter_create: model: expected a model, found NULL");
    e2enet::Options wanted;
    if (options) {
      wanted.threads = options->threads;
      wanted.precision = options->bf16 ? e2enet::Precision::bf16 : e2enet::Precision::f32;
      wanted.step = options->step;
      wanted.mirror = options->mirror != 0;
      wanted.largest_component = largest_component_of(options->largest_component);
      wanted.probabilities = options->probabilities != 0;
      wanted.allow_implausible_spacing = options->allow_implausible_spacing != 0;
    }
    *segmenter = new e2enet_segmenter{e2enet::Segmenter(model->model, wanted), wanted.probabilities, ""};
  });
}

void e2enet_segmenter_free(e2enet_segmenter* segmenter) { delete segmenter; }

e2enet_status e2enet_segment(e2enet_segmenter* segmenter, const e2enet_image* image, uint16_t* labels,
                             float* probabilities, e2enet_progress progress, void* context) {
  return guarded([&] {
    require(segmenter, "e2enet_segment: segmenter: expected a segmenter, found NULL");
    require(image, "e2enet_segment: image: expected an image, found NULL");
    require(labels, "e2enet_segment: labels: expected an array for the result, found NULL");
    require(!probabilities || segmenter->probabilities,
            "e2enet_segment: probabilities: expected NULL, as the segmenter was made without that option");
    require(image->channels >= 0 && image->channels <= 1 << 20, "e2enet_segment: image.channels: expected a count");
    require(image->channels == 0 || image->voxels, "e2enet_segment: image.voxels: expected an array, found NULL");

    e2enet::ImageView view;
    std::copy_n(image->shape, 3, view.geometry.shape.begin());
    std::copy_n(image->spacing, 3, view.geometry.spacing.begin());
    std::copy_n(image->affine, 16, view.geometry.affine.begin());
    view.channels.assign(image->voxels, image->voxels + image->channels);

    e2enet::ProgressCallback callback;
    if (progress) {
      callback = [&](const e2enet::Progress& at) {
        return progress(context, static_cast<int>(at.stage), at.done, at.total, at.seconds_left) != 0;
      };
    }
    const e2enet::Segmentation result = segmenter->segmenter.segment(view, callback);
    std::string remarks;
    for (const std::string& remark : result.remarks) remarks += remark + "\n";
    segmenter->remarks = std::move(remarks);
    std::copy(result.labels.begin(), result.labels.end(), labels);
    if (probabilities) std::copy(result.probabilities.begin(), result.probabilities.end(), probabilities);
  });
}

const char* e2enet_segmenter_remarks(const e2enet_segmenter* segmenter) { return segmenter->remarks.c_str(); }

}  // extern "C"
