#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/errors.h"
#include "base/simd/dispatch.h"
#include "e2enet/e2enet.h"
#include "e2enet/e2enet_c.h"

struct e2enet_text {
  std::string text;
};

struct e2enet_options {
  e2enet::Options options;
};

struct e2enet_model {
  e2enet::Model model;
};

struct e2enet_image {
  e2enet::Image image;
  std::string remarks;
};

struct e2enet_request {
  e2enet::Request request;
  std::size_t labels = 0;         // elements of request.labels_into
  std::size_t probabilities = 0;  // the same
  e2enet::ProgressCallback progress;
};

struct e2enet_segmenter {
  e2enet::Segmenter segmenter;
  int classes;
};

struct e2enet_segmentation {
  e2enet::Segmentation segmentation;
  bool mean_intensities = false;
};

struct e2enet_forecast {
  e2enet::Forecast forecast;
};

struct e2enet_patch_runner {
  e2enet::PatchRunner runner;
};

struct e2enet_scores {
  e2enet::evaluate::CaseScores scores;
  std::string remarks;
};

namespace {

using e2enet::Error;
using e2enet::ErrorCode;
namespace evaluate = e2enet::evaluate;

const Error kNoMemory(ErrorCode::out_of_memory, "no memory for the library's own objects");

// An array and not a string: where there is no memory, the message that says so must not ask for any, neither for
// itself nor for its end with the thread. Longer messages are cut.
thread_local char last_error[4096];

e2enet_status status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return E2ENET_INVALID_ARGUMENT;
    case ErrorCode::cannot_read:
      return E2ENET_CANNOT_READ;
    case ErrorCode::cannot_write:
      return E2ENET_CANNOT_WRITE;
    case ErrorCode::invalid_model:
      return E2ENET_INVALID_MODEL;
    case ErrorCode::invalid_image:
      return E2ENET_INVALID_IMAGE;
    case ErrorCode::out_of_memory:
      return E2ENET_OUT_OF_MEMORY;
    case ErrorCode::memory_limit:
      return E2ENET_MEMORY_LIMIT;
    case ErrorCode::cancelled:
      return E2ENET_CANCELLED;
    case ErrorCode::internal:
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
  } catch (const Error& error) {
    return failed(status_of(error.code()), error.what());
  } catch (...) {
    return failed(E2ENET_INTERNAL, "an unknown exception");
  }
}

void require(bool condition, const char* function, const char* argument, const char* expected) {
  if (condition) return;
  throw Error(ErrorCode::invalid_argument,
              std::string(function) + ": " + argument + ": expected " + expected + ", found NULL");
}

// Makes the object that a function gives back: NULL unless make() returns.
template <typename Object, typename Function>
e2enet_status give(const char* function, Object** place, const Function& make) noexcept {
  return guarded([&] {
    require(place, function, "the last argument", "a place for the result");
    *place = nullptr;
    *place = new Object(make());  // NOLINT(bugprone-unhandled-exception-at-new): guarded() handles it
  });
}

// Not std::function, which may ask for memory where nobody catches that there is none.
template <typename Write>
e2enet_status give_text(const char* function, e2enet_text** place, bool there, const char* argument,
                        const Write& write) noexcept {
  return give(function, place, [&] {
    require(there, function, argument, "an object");
    return e2enet_text{write()};
  });
}

template <typename Object, typename Function>
e2enet_status set(const char* function, Object* object, const Function& assign) noexcept {
  return guarded([&] {
    require(object, function, "the first argument", "an object");
    assign();
  });
}

void require_count(const char* field, std::int64_t count, std::int64_t least) {
  constexpr std::int64_t kMost = 1 << 20;
  if (count >= least && count <= kMost) return;
  throw Error(ErrorCode::invalid_argument, std::string(field) + ": expected " + std::to_string(least) + " to " +
                                               std::to_string(kMost) + ", found " + std::to_string(count));
}

// The same element of a map for the same index.
template <typename Value>
int key_number(const std::map<int, Value>& map, int index) {
  if (index < 0 || static_cast<std::size_t>(index) >= map.size()) return -1;
  return std::next(map.begin(), index)->first;
}

std::string lines_of(const std::vector<e2enet::Remark>& remarks) {
  std::string lines;
  for (const e2enet::Remark& one : remarks) {
    lines += (one.warning ? "warning: " : "") + one.source + ": " + one.text + "\n";
  }
  return lines;
}

e2enet_image image_of(e2enet::Image image) {
  std::string remarks = lines_of(image.remarks());
  return {std::move(image), std::move(remarks)};
}

e2enet::Geometry geometry_of(const char* function, const int64_t shape[3], const double spacing[3],
                             const double affine[16]) {
  require(shape, function, "shape", "three numbers of voxels");
  require(spacing || affine, function, "spacing and affine", "one or both");
  e2enet::Geometry geometry;
  std::copy_n(shape, 3, geometry.shape.begin());
  if (spacing) {
    std::copy_n(spacing, 3, geometry.spacing.begin());
  } else {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const double* column = affine + 2 - axis;  // its columns are in the order W, H, D
      geometry.spacing[axis] = std::sqrt(column[0] * column[0] + column[4] * column[4] + column[8] * column[8]);
    }
  }
  if (affine) {
    std::copy_n(affine, 16, geometry.affine.begin());
  } else {
    geometry = e2enet::geometry_of(geometry.shape, geometry.spacing);
  }
  return geometry;
}

e2enet::PatchOptions patch_options(const e2enet_options* options, const int patch[3], const char* algorithm) {
  e2enet::PatchOptions wanted;
  if (options) {
    wanted.threads = options->options.threads;
    wanted.parallel_for = options->options.parallel_for;
    wanted.precision = options->options.precision;
    wanted.arena = options->options.arena;
  }
  if (patch) std::copy_n(patch, 3, wanted.patch.begin());
  if (algorithm) wanted.algorithm = algorithm;
  return wanted;
}

void require_elements(const char* field, std::size_t found, std::int64_t voxels, int classes) {
  if (voxels <= std::numeric_limits<std::int64_t>::max() / classes &&
      found == static_cast<std::uint64_t>(voxels) * static_cast<std::uint64_t>(classes)) {
    return;
  }
  throw Error(ErrorCode::invalid_argument, std::string("request: ") + field + ": expected an array of " +
                                               (classes == 1 ? "" : std::to_string(classes) + " classes times ") +
                                               "the image's " + std::to_string(voxels) + " voxels, found one of " +
                                               std::to_string(found));
}

// What the request says, for this image: its arrays are long enough.
void require_arrays(const e2enet_request& request, const e2enet::Image& image, int classes) {
  const std::int64_t voxels = image.geometry().voxels();
  if (request.request.labels_into) require_elements("labels", request.labels, voxels, 1);
  if (request.request.probabilities_into) {
    require_elements("probabilities", request.probabilities, voxels, classes);
  }
}

std::vector<int> labels_to_score(const int* labels, int count, const evaluate::LabelView& prediction,
                                 const evaluate::LabelView& reference) {
  if (labels) {
    require_count("label_count", count, 0);
    for (int i = 0; i < count; ++i) {
      if (labels[i] >= 1 && labels[i] <= 65535) continue;
      throw Error(ErrorCode::invalid_argument,
                  "labels: expected values from 1 to 65535, found " + std::to_string(labels[i]));
    }
    return {labels, labels + count};
  }
  std::vector<int> present = evaluate::labels_present(prediction);
  for (const int label : evaluate::labels_present(reference)) present.push_back(label);
  return present;
}

e2enet_scores scores_of(const evaluate::LabelView& prediction, const evaluate::LabelView& reference, double tolerance,
                        const int* labels, int label_count, int threads) {
  const std::vector<int> scored = labels_to_score(labels, label_count, prediction, reference);
  return {evaluate::score_case(prediction, reference, scored, tolerance, threads), ""};
}

const evaluate::LabelScore* score_of(const e2enet_scores* scores, int value) {
  const auto found = scores->scores.find(value);
  return found == scores->scores.end() ? nullptr : &found->second;
}

double or_nan(const std::optional<double>& value) { return value.value_or(std::numeric_limits<double>::quiet_NaN()); }

}  // namespace

extern "C" {

const char* e2enet_last_error(void) { return last_error; }

const char* e2enet_text_string(const e2enet_text* text) { return text->text.c_str(); }
void e2enet_text_free(e2enet_text* text) { delete text; }

// ---- Options.

e2enet_status e2enet_options_create(e2enet_options** options) {
  return give(__func__, options, [] { return e2enet_options{}; });
}
void e2enet_options_free(e2enet_options* options) { delete options; }

e2enet_status e2enet_options_set_threads(e2enet_options* options, int threads) {
  return set(__func__, options, [&] { options->options.threads = threads; });
}
e2enet_status e2enet_options_set_precision(e2enet_options* options, int precision) {
  return set(__func__, options, [&] { options->options.precision = static_cast<e2enet::Precision>(precision); });
}
e2enet_status e2enet_options_set_step(e2enet_options* options, double step) {
  return set(__func__, options, [&] { options->options.step = step; });
}
e2enet_status e2enet_options_set_mirror(e2enet_options* options, int mirror) {
  return set(__func__, options, [&] { options->options.mirror = mirror != 0; });
}
e2enet_status e2enet_options_set_largest_component(e2enet_options* options, int largest_component) {
  return set(__func__, options,
             [&] { options->options.largest_component = static_cast<e2enet::LargestComponent>(largest_component); });
}
e2enet_status e2enet_options_set_allow_implausible_spacing(e2enet_options* options, int allow) {
  return set(__func__, options, [&] { options->options.allow_implausible_spacing = allow != 0; });
}
e2enet_status e2enet_options_set_memory_limit(e2enet_options* options, int64_t bytes) {
  return set(__func__, options, [&] { options->options.memory_limit = bytes; });
}
e2enet_status e2enet_options_set_arena(e2enet_options* options, void* memory, size_t bytes) {
  return set(__func__, options, [&] { options->options.arena = {memory, bytes}; });
}
e2enet_status e2enet_options_set_parallel_for(e2enet_options* options, e2enet_parallel_for parallel_for,
                                              void* context) {
  return set(__func__, options, [&] {
    if (!parallel_for) {
      options->options.parallel_for = nullptr;
      return;
    }
    options->options.parallel_for = [=](int threads, const std::function<void(int)>& body) {
      using Body = const std::function<void(int)>;
      const auto call = [](void* of, int thread) { (*static_cast<Body*>(of))(thread); };
      parallel_for(context, threads, call, const_cast<std::function<void(int)>*>(&body));
    };
  });
}

// ---- A model.

e2enet_status e2enet_model_load(const char* path, e2enet_model** model) {
  return give(__func__, model, [&] {
    require(path, "e2enet_model_load", "path", "a file's name");
    return e2enet_model{e2enet::Model::load(path)};
  });
}
e2enet_status e2enet_model_from_bytes(const void* bytes, size_t count, const char* name, e2enet_model** model) {
  return give(__func__, model, [&] {
    require(bytes, "e2enet_model_from_bytes", "bytes", "those of a model file");
    return e2enet_model{e2enet::Model::from_bytes(bytes, count, name ? name : "model")};
  });
}
void e2enet_model_free(e2enet_model* model) { delete model; }

int e2enet_model_input_channels(const e2enet_model* model) { return model->model.input_channels(); }
int e2enet_model_classes(const e2enet_model* model) { return model->model.classes(); }
int e2enet_model_largest_label(const e2enet_model* model) {
  int label = -1;
  guarded([&] { label = model->model.largest_label(); });
  return label;
}
void e2enet_model_patch_size(const e2enet_model* model, int patch_size[3]) {
  const auto size = model->model.patch_size();
  std::copy(size.begin(), size.end(), patch_size);
}
int e2enet_model_label_count(const e2enet_model* model) { return static_cast<int>(model->model.labels().size()); }
int e2enet_model_label(const e2enet_model* model, int index) { return key_number(model->model.labels(), index); }
const char* e2enet_model_label_name(const e2enet_model* model, int value) {
  const auto& labels = model->model.labels();
  const auto at = labels.find(value);
  return at == labels.end() ? nullptr : at->second.c_str();
}
int64_t e2enet_model_parameters(const e2enet_model* model) {
  std::int64_t parameters = -1;
  guarded([&] { parameters = model->model.parameters(); });
  return parameters;
}
double e2enet_model_flops_paper(const e2enet_model* model) {
  double flops = -1;
  guarded([&] { flops = model->model.flops_paper(); });
  return flops;
}
double e2enet_model_flops_executed(const e2enet_model* model) {
  double flops = -1;
  guarded([&] { flops = model->model.flops_executed(); });
  return flops;
}
e2enet_status e2enet_model_json(const e2enet_model* model, const e2enet_options* options, const int patch[3],
                                e2enet_text** json) {
  return give_text(__func__, json, model, "model",
                   [&] { return e2enet::model_json(model->model, patch_options(options, patch, nullptr)); });
}

e2enet_status e2enet_arena_bytes(const e2enet_model* model, const e2enet_options* options, const int patch[3],
                                 size_t* bytes) {
  return guarded([&] {
    require(bytes, "e2enet_arena_bytes", "bytes", "a place for the result");
    *bytes = 0;
    require(model, "e2enet_arena_bytes", "model", "a model");
    *bytes = e2enet::arena_bytes(model->model, patch_options(options, patch, nullptr));
  });
}

// ---- An image.

e2enet_status e2enet_image_open(const char* const* paths, int channels, e2enet_image** image) {
  return give(__func__, image, [&] {
    require(paths, "e2enet_image_open", "paths", "names of files");
    require_count("e2enet_image_open: channels", channels, 1);
    std::vector<std::string> files;
    for (int channel = 0; channel < channels; ++channel) {
      require(paths[channel], "e2enet_image_open", "paths", "names of files");
      files.emplace_back(paths[channel]);
    }
    return image_of(e2enet::Image::open(files));
  });
}

e2enet_status e2enet_image_open_dicom(const char* const* paths, int path_count, const char* const* series,
                                      int series_count, int regrid, e2enet_image** image) {
  return give(__func__, image, [&] {
    const auto texts = [](const char* const* given, int count, const char* name) {
      if (count > 0) require(given, "e2enet_image_open_dicom", name, "texts");
      std::vector<std::string> all;
      for (int i = 0; i < count; ++i) {
        require(given[i], "e2enet_image_open_dicom", name, "texts");
        all.emplace_back(given[i]);
      }
      return all;
    };
    require_count("e2enet_image_open_dicom: path_count", path_count, 1);
    require_count("e2enet_image_open_dicom: series_count", series_count, 0);
    e2enet::OpenOptions options;
    options.series = texts(series, series_count, "series");
    options.regrid = regrid != 0;
    return image_of(e2enet::Image::open(texts(paths, path_count, "paths"), options));
  });
}

e2enet_status e2enet_image_from_arrays(const int64_t shape[3], const double spacing[3], const double affine[16],
                                       const void* const* channels, const int* types, const int64_t* strides,
                                       int channel_count, const char* name, e2enet_image** image) {
  return give(__func__, image, [&] {
    const char* const function = "e2enet_image_from_arrays";
    const e2enet::Geometry geometry = geometry_of(function, shape, spacing, affine);
    require(channels, function, "channels", "arrays");
    require(types, function, "types", "a type for each channel");
    require_count("e2enet_image_from_arrays: channel_count", channel_count, 1);
    std::vector<e2enet::ArrayView> views(static_cast<std::size_t>(channel_count));
    for (std::size_t channel = 0; channel < views.size(); ++channel) {
      views[channel].data = channels[channel];
      views[channel].type = static_cast<e2enet::ScalarType>(types[channel]);
      if (!strides) continue;
      for (std::size_t axis = 0; axis < 3; ++axis) {
        views[channel].strides[axis] = static_cast<std::ptrdiff_t>(strides[3 * channel + axis]);
      }
    }
    return image_of(e2enet::Image::from_arrays(geometry, views, name ? name : "image"));
  });
}

e2enet_status e2enet_image_from_slices(const int64_t shape[3], const double spacing[3], const double affine[16],
                                       int channels, e2enet_slice_reader reader, void* context, const char* name,
                                       e2enet_image** image) {
  return give(__func__, image, [&] {
    const char* const function = "e2enet_image_from_slices";
    const e2enet::Geometry geometry = geometry_of(function, shape, spacing, affine);
    require(reader, function, "reader", "a function");
    const std::string called = name ? name : "image";
    const auto read = [=](int channel, std::int64_t first, std::int64_t count, float* values) {
      const int answer = reader(context, channel, first, count, values);
      if (answer == 0) return;
      throw Error(ErrorCode::cannot_read, called + ": slices " + std::to_string(first) + " to " +
                                              std::to_string(first + count - 1) + " of channel " +
                                              std::to_string(channel) + ": expected the reader to return 0, found " +
                                              std::to_string(answer));
    };
    return image_of(e2enet::Image::from_slices(geometry, channels, read, called));
  });
}
void e2enet_image_free(e2enet_image* image) { delete image; }

int e2enet_image_channels(const e2enet_image* image) { return image->image.channels(); }
void e2enet_image_geometry(const e2enet_image* image, int64_t shape[3], double spacing[3], double affine[16]) {
  const e2enet::Geometry& geometry = image->image.geometry();
  if (shape) std::copy(geometry.shape.begin(), geometry.shape.end(), shape);
  if (spacing) std::copy(geometry.spacing.begin(), geometry.spacing.end(), spacing);
  if (affine) std::copy(geometry.affine.begin(), geometry.affine.end(), affine);
}
const char* e2enet_image_remarks(const e2enet_image* image) { return image->remarks.c_str(); }
e2enet_status e2enet_image_json(const e2enet_image* image, e2enet_text** json) {
  return give_text(__func__, json, image, "image", [&] { return e2enet::geometry_json(image->image); });
}
e2enet_status e2enet_image_read(e2enet_image* image, int channel, int64_t first, int64_t count, float* values) {
  return set(__func__, image, [&] {
    require(values || count == 0, "e2enet_image_read", "values", "an array for the result");
    image->image.read(channel, first, count, values);
  });
}

// ---- What is wanted.

e2enet_status e2enet_request_create(e2enet_request** request) {
  return give(__func__, request, [] {
    e2enet_request made;
    made.request.labels = false;  // never in the library's memory: an array is the caller's
    return made;
  });
}
void e2enet_request_free(e2enet_request* request) { delete request; }

e2enet_status e2enet_request_set_box(e2enet_request* request, const int64_t begin[3], const int64_t end[3]) {
  return set(__func__, request, [&] {
    if (!begin && !end) {
      request->request.box.reset();
      return;
    }
    require(begin && end, "e2enet_request_set_box", "begin or end", "three voxels");
    e2enet::Box box;
    std::copy_n(begin, 3, box.begin.begin());
    std::copy_n(end, 3, box.end.begin());
    request->request.box = box;
  });
}
e2enet_status e2enet_request_set_labels(e2enet_request* request, uint16_t* labels, size_t count) {
  return set(__func__, request, [&] {
    request->request.labels_into = labels;
    request->labels = count;
  });
}
e2enet_status e2enet_request_set_probabilities(e2enet_request* request, float* probabilities, size_t count) {
  return set(__func__, request, [&] {
    request->request.probabilities_into = probabilities;
    request->probabilities = count;
  });
}
e2enet_status e2enet_request_set_label_callback(e2enet_request* request, e2enet_label_callback callback,
                                                void* context) {
  return set(__func__, request, [&] {
    if (!callback) {
      request->request.on_labels = nullptr;
      return;
    }
    request->request.on_labels = [=](std::int64_t first_slice, std::int64_t slices, const std::uint16_t* labels) {
      const int answer = callback(context, first_slice, slices, labels);
      if (answer == 0) return;
      throw Error(ErrorCode::cancelled,
                  "request: label_callback: expected 0 for slices " + std::to_string(first_slice) + " to " +
                      std::to_string(first_slice + slices - 1) + ", found " + std::to_string(answer));
    };
  });
}
e2enet_status e2enet_request_set_progress(e2enet_request* request, e2enet_progress progress, void* context) {
  return set(__func__, request, [&] {
    if (!progress) {
      request->progress = nullptr;
      return;
    }
    request->progress = [=](const e2enet::Progress& at) {
      return progress(context, static_cast<int>(at.stage), at.done, at.total, at.seconds_left) != 0;
    };
  });
}
e2enet_status e2enet_request_set_mean_intensities(e2enet_request* request, int wanted) {
  return set(__func__, request, [&] { request->request.mean_intensities = wanted != 0; });
}
e2enet_status e2enet_request_set_labels_file(e2enet_request* request, const char* path) {
  return set(__func__, request, [&] { request->request.labels_file = path ? path : ""; });
}
e2enet_status e2enet_request_set_probabilities_file(e2enet_request* request, const char* path) {
  return set(__func__, request, [&] { request->request.probabilities_file = path ? path : ""; });
}
e2enet_status e2enet_request_set_dicom_reference(e2enet_request* request, const char* path, const char* series) {
  return set(__func__, request, [&] {
    request->request.dicom_reference = path ? path : "";
    request->request.dicom_reference_series = series ? series : "";
  });
}

e2enet_status e2enet_request_set_preview_file(e2enet_request* request, const char* path) {
  return set(__func__, request, [&] { request->request.preview_file = path ? path : ""; });
}

// ---- Doing it.

e2enet_status e2enet_segmenter_create(const e2enet_model* model, const e2enet_options* options,
                                      e2enet_segmenter** segmenter) {
  return give(__func__, segmenter, [&] {
    require(model, "e2enet_segmenter_create", "model", "a model");
    return e2enet_segmenter{e2enet::Segmenter(model->model, options ? options->options : e2enet::Options{}),
                            model->model.classes()};
  });
}
void e2enet_segmenter_free(e2enet_segmenter* segmenter) { delete segmenter; }
int e2enet_segmenter_threads(const e2enet_segmenter* segmenter) { return segmenter->segmenter.threads(); }
int64_t e2enet_segmenter_planned_bytes(const e2enet_segmenter* segmenter) {
  return segmenter->segmenter.planned_peak_bytes();
}

e2enet_status e2enet_segment(e2enet_segmenter* segmenter, const e2enet_image* image, const e2enet_request* request,
                             e2enet_segmentation** segmentation) {
  return guarded([&] {
    if (segmentation) *segmentation = nullptr;
    require(segmenter, "e2enet_segment", "segmenter", "a segmenter");
    require(image, "e2enet_segment", "image", "an image");
    require(request, "e2enet_segment", "request", "a request");
    require_arrays(*request, image->image, segmenter->classes);
    auto found = std::make_unique<e2enet_segmentation>();  // before the work: nothing can fail behind it
    found->mean_intensities = request->request.mean_intensities;
    found->segmentation = segmenter->segmenter.segment(image->image, request->request, request->progress);
    if (segmentation) *segmentation = found.release();
  });
}
void e2enet_segmentation_free(e2enet_segmentation* segmentation) { delete segmentation; }
int e2enet_segmentation_empty_image(const e2enet_segmentation* segmentation) {
  return segmentation->segmentation.empty_image;
}
int e2enet_segmentation_label_count(const e2enet_segmentation* segmentation) {
  return static_cast<int>(segmentation->segmentation.statistics.size());
}
int e2enet_segmentation_label(const e2enet_segmentation* segmentation, int index) {
  return key_number(segmentation->segmentation.statistics, index);
}
int64_t e2enet_segmentation_voxels(const e2enet_segmentation* segmentation, int value) {
  const auto& statistics = segmentation->segmentation.statistics;
  const auto found = statistics.find(value);
  return found == statistics.end() ? -1 : found->second.voxels;
}
double e2enet_segmentation_ml(const e2enet_segmentation* segmentation, int value) {
  const auto& statistics = segmentation->segmentation.statistics;
  const auto found = statistics.find(value);
  return found == statistics.end() ? -1 : found->second.ml;
}
e2enet_status e2enet_segmentation_json(const e2enet_segmentation* segmentation, e2enet_text** json) {
  return give_text(__func__, json, segmentation, "segmentation", [&] {
    return e2enet::segmentation_json(segmentation->segmentation, segmentation->mean_intensities);
  });
}

e2enet_status e2enet_segmenter_forecast(e2enet_segmenter* segmenter, const e2enet_image* image,
                                        const e2enet_request* request, e2enet_forecast** forecast) {
  return give(__func__, forecast, [&] {
    require(segmenter, "e2enet_segmenter_forecast", "segmenter", "a segmenter");
    require(image, "e2enet_segmenter_forecast", "image", "an image");
    require(request, "e2enet_segmenter_forecast", "request", "a request");
    require_arrays(*request, image->image, segmenter->classes);
    return e2enet_forecast{segmenter->segmenter.forecast(image->image, request->request)};
  });
}
void e2enet_forecast_free(e2enet_forecast* forecast) { delete forecast; }
int e2enet_forecast_fits(const e2enet_forecast* forecast) { return forecast->forecast.fits; }
int64_t e2enet_forecast_peak_bytes(const e2enet_forecast* forecast) { return forecast->forecast.peak_bytes; }
int64_t e2enet_forecast_smallest_limit_bytes(const e2enet_forecast* forecast) {
  return forecast->forecast.smallest_limit_bytes;
}
int64_t e2enet_forecast_runs(const e2enet_forecast* forecast) { return forecast->forecast.runs; }
double e2enet_forecast_seconds(const e2enet_forecast* forecast) { return forecast->forecast.seconds_network; }
e2enet_status e2enet_forecast_json(const e2enet_forecast* forecast, e2enet_text** json) {
  return give_text(__func__, json, forecast, "forecast", [&] { return e2enet::forecast_json(forecast->forecast); });
}

// ---- Patches.

e2enet_status e2enet_patch_runner_create(const e2enet_model* model, const e2enet_options* options, const int patch[3],
                                         const char* algorithm, e2enet_patch_runner** runner) {
  return give(__func__, runner, [&] {
    require(model, "e2enet_patch_runner_create", "model", "a model");
    return e2enet_patch_runner{e2enet::PatchRunner(model->model, patch_options(options, patch, algorithm))};
  });
}
void e2enet_patch_runner_free(e2enet_patch_runner* runner) { delete runner; }
void e2enet_patch_runner_patch(const e2enet_patch_runner* runner, int patch[3]) {
  const std::array<int, 3> of = runner->runner.patch();
  std::copy(of.begin(), of.end(), patch);
}
e2enet_status e2enet_patch_runner_run(e2enet_patch_runner* runner, const float* patch, float* logits) {
  return set(__func__, runner, [&] {
    require(patch, "e2enet_patch_runner_run", "patch", "an array");
    runner->runner.run(patch, logits);
  });
}
int64_t e2enet_patch_runner_planned_bytes(const e2enet_patch_runner* runner) { return runner->runner.planned_bytes(); }
e2enet_status e2enet_patch_runner_json(const e2enet_patch_runner* runner, e2enet_text** json) {
  return give_text(__func__, json, runner, "runner", [&] { return e2enet::profile_json(runner->runner); });
}

// ---- Scores.

e2enet_status e2enet_evaluate(const uint16_t* prediction, const uint16_t* reference, const int64_t shape[3],
                              const double spacing[3], double tolerance, const int* labels, int label_count,
                              int threads, e2enet_scores** scores) {
  return give(__func__, scores, [&] {
    const char* const function = "e2enet_evaluate";
    require(prediction, function, "prediction", "labels");
    require(reference, function, "reference", "labels");
    require(shape, function, "shape", "three numbers of voxels");
    require(spacing, function, "spacing", "three lengths in mm");
    evaluate::LabelView of_prediction;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      constexpr std::int64_t kMostVoxelsOnAxis = 32767;
      if (shape[axis] < 1 || shape[axis] > kMostVoxelsOnAxis) {
        throw Error(ErrorCode::invalid_argument, std::string(function) + ": shape: expected 1 to " +
                                                     std::to_string(kMostVoxelsOnAxis) + " voxels along each axis, " +
                                                     "found " + std::to_string(shape[axis]));
      }
      of_prediction.shape[axis] = shape[axis];
      of_prediction.spacing[axis] = spacing[axis];
    }
    evaluate::LabelView of_reference = of_prediction;
    of_prediction.voxels = prediction;
    of_reference.voxels = reference;
    return scores_of(of_prediction, of_reference, tolerance, labels, label_count, threads);
  });
}

e2enet_status e2enet_evaluate_files(const char* prediction, const char* reference, double tolerance, const int* labels,
                                    int label_count, int threads, e2enet_scores** scores) {
  return give(__func__, scores, [&] {
    require(prediction, "e2enet_evaluate_files", "prediction", "a file's name");
    require(reference, "e2enet_evaluate_files", "reference", "a file's name");
    const e2enet::LabelVolume of_prediction = e2enet::read_labels(prediction);
    const e2enet::LabelVolume of_reference = e2enet::read_labels(reference);
    std::vector<e2enet::Remark> remarks = of_prediction.remarks;
    remarks.insert(remarks.end(), of_reference.remarks.begin(), of_reference.remarks.end());
    const evaluate::GeometryComparison comparison =
        evaluate::require_comparable(prediction, of_prediction.geometry, reference, of_reference.geometry);
    if (comparison.match != evaluate::GeometryMatch::same) {
      remarks.push_back({true, prediction,
                         "differs from " + std::string(reference) + " in where it lies in space (" +
                             comparison.difference +
                             "); voxels of the same index are compared, with the reference's spacing"});
    }
    e2enet_scores found = scores_of(evaluate::view_of(of_prediction), evaluate::view_of(of_reference), tolerance,
                                    labels, label_count, threads);
    found.remarks = lines_of(remarks);
    return found;
  });
}
void e2enet_scores_free(e2enet_scores* scores) { delete scores; }
int e2enet_scores_label_count(const e2enet_scores* scores) { return static_cast<int>(scores->scores.size()); }
int e2enet_scores_label(const e2enet_scores* scores, int index) { return key_number(scores->scores, index); }
double e2enet_scores_dice(const e2enet_scores* scores, int value) {
  const evaluate::LabelScore* score = score_of(scores, value);
  return or_nan(score ? score->dice : std::nullopt);
}
double e2enet_scores_nsd(const e2enet_scores* scores, int value) {
  const evaluate::LabelScore* score = score_of(scores, value);
  return or_nan(score ? score->nsd : std::nullopt);
}
double e2enet_scores_hd95(const e2enet_scores* scores, int value) {
  const evaluate::LabelScore* score = score_of(scores, value);
  return or_nan(score ? score->hd95 : std::nullopt);
}
const char* e2enet_scores_remarks(const e2enet_scores* scores) { return scores->remarks.c_str(); }
e2enet_status e2enet_scores_json(const e2enet_scores* scores, e2enet_text** json) {
  return give_text(__func__, json, scores, "scores", [&] { return e2enet::scores_json(scores->scores); });
}

// ---- The machine.

const char* e2enet_instruction_set(void) { return e2enet::simd::instruction_set(); }
int e2enet_available_threads(void) { return e2enet::available_threads(); }
int64_t e2enet_resident_bytes(void) { return e2enet::resident_bytes(); }
int64_t e2enet_peak_resident_bytes(void) { return e2enet::peak_resident_bytes(); }

}  // extern "C"
