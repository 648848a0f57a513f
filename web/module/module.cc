// What the browser's JavaScript (web/package/worker.js) calls: one model, one segmenter and one image at a time, as a
// worker has them. Numbers that may need more than 32 bits are doubles; texts that come back stay until the next call.
// A function that can fail returns a status of e2enet_c.h, or null; web_error() says why.
#include <emscripten.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/platform/web_memory.h"
#include "e2enet/e2enet.h"
#include "report/label_colors.h"

// Posts how far the work is to whoever waits, and says whether to go on.
EM_JS(int, web_progress, (int stage, double done, double total, double seconds_left),
      { return Module["e2enetProgress"](stage, done, total, seconds_left) ? 1 : 0; });

namespace {

using e2enet::Error;
using e2enet::ErrorCode;

struct Session {
  std::optional<e2enet::Model> model;
  e2enet::Options options;
  std::int64_t wanted_limit = 0;  // options.memory_limit, before the browser gave less
  std::optional<e2enet::Segmenter> segmenter;
  std::optional<e2enet::Image> image;
  std::string text;   // the last that was given back
  std::string error;  // of the last call that failed
  int status = 0;     // of the last call
};

Session& session() {
  static Session one;
  return one;
}

// As the C functions number them: 0 is success.
int status_of(ErrorCode code) { return static_cast<int>(code) + 1; }

int failed(ErrorCode code, const char* why) {
  session().error = why;
  return status_of(code);
}

int status_after(const std::function<void()>& function) {
  try {
    function();
    return 0;
  } catch (const Error& error) {
    return failed(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return failed(ErrorCode::out_of_memory, "no memory");  // short enough to need none
  } catch (const std::exception& problem) {
    return failed(ErrorCode::internal, problem.what());
  }
}

int guarded(const std::function<void()>& function) { return session().status = status_after(function); }

const char* text_or_null(const std::function<std::string()>& function) {
  Session& now = session();
  return guarded([&] { now.text = function(); }) == 0 ? now.text.c_str() : nullptr;
}

template <typename Object>
Object& present(std::optional<Object>& object, const char* what) {
  if (!object) throw Error(ErrorCode::invalid_argument, std::string("expected ") + what + ", found none");
  return *object;
}

const e2enet::Model& model() { return present(session().model, "a model"); }
const e2enet::Image& image() { return present(session().image, "an image"); }

e2enet::Segmenter& segmenter() {
  Session& now = session();
  if (!now.segmenter) now.segmenter.emplace(model(), now.options);
  return *now.segmenter;
}

// A limit that the plan keeps to is no use where the browser does not give that much: the memory is grown to what the
// plan says before any work. Where it cannot, the limit becomes what there is, and the next plan is made for that.
e2enet::Forecast forecast_with_memory(const e2enet::Request& request) {
  Session& now = session();
  if (now.options.memory_limit != now.wanted_limit) {
    now.options.memory_limit = now.wanted_limit;
    now.segmenter.reset();
  }
  while (true) {
    e2enet::Forecast forecast = segmenter().forecast(image(), request);
    if (!forecast.fits || e2enet::platform::web_reserve(forecast.peak_bytes)) return forecast;
    constexpr std::int64_t kStep = std::int64_t{64} << 20;
    std::int64_t given = forecast.peak_bytes - kStep;
    const std::int64_t in_use = e2enet::platform::web_bytes_in_use();
    while (given > in_use && !e2enet::platform::web_reserve(given)) given -= kStep;
    now.options.memory_limit = std::max(given, in_use);
    now.segmenter.reset();
  }
}

e2enet::Request request_of(const double* box) {
  e2enet::Request request;
  request.labels = false;
  if (box) {  // first and past the last voxel along D, H, W
    request.box.emplace();
    for (std::size_t axis = 0; axis < 3; ++axis) {
      request.box->begin[axis] = static_cast<std::int64_t>(box[axis]);
      request.box->end[axis] = static_cast<std::int64_t>(box[3 + axis]);
    }
  }
  return request;
}

}  // namespace

extern "C" {

// Of the last call: 0, or the number of a status of e2enet_c.h.
int web_status() { return session().status; }
const char* web_error() { return session().error.c_str(); }

// {"version", "instruction_set", "threads"}
const char* web_machine() {
  return text_or_null([] {
    return nlohmann::ordered_json{{"version", e2enet_version()},
                                  {"instruction_set", e2enet::instruction_set()},
                                  {"threads", e2enet::available_threads()}}
        .dump();
  });
}

// In use, grown to, and at most.
void web_memory(double bytes[3]) {
  bytes[0] = static_cast<double>(e2enet::platform::web_bytes_in_use());
  bytes[1] = static_cast<double>(e2enet::platform::web_bytes_of_memory());
  bytes[2] = static_cast<double>(e2enet::platform::web_bytes_at_most());
}

// The bytes are not needed afterwards. Whatever was there before is gone, also where this fails.
int web_load(const void* bytes, std::size_t count, const char* name, int threads, int precision, double step,
             int mirror, int largest_component, int allow_implausible_spacing, double memory_limit) {
  return guarded([&] {
    Session& now = session();
    now.segmenter.reset();
    now.image.reset();
    now.model.reset();
    now.options = e2enet::Options();
    now.options.threads = threads;
    now.options.precision = static_cast<e2enet::Precision>(precision);
    now.options.step = step;
    now.options.mirror = mirror != 0;
    now.options.largest_component = static_cast<e2enet::LargestComponent>(largest_component);
    now.options.allow_implausible_spacing = allow_implausible_spacing != 0;
    now.options.memory_limit = now.wanted_limit = static_cast<std::int64_t>(memory_limit);
    now.model = e2enet::Model::from_bytes(bytes, count, name);
    segmenter();
  });
}

// model_json() of json.h, and "label_names", "label_colors" ({value: [red, green, blue]}), "input_channels" and the
// "threads_used".
const char* web_model() {
  return text_or_null([] {
    e2enet::PatchOptions options;
    options.threads = session().options.threads;
    nlohmann::ordered_json json = nlohmann::ordered_json::parse(e2enet::model_json(model(), options));
    json.erase("layers");
    nlohmann::ordered_json names = nlohmann::ordered_json::object(), colors = names;
    for (const auto& [value, label] : model().labels()) names[std::to_string(value)] = label;
    for (const auto& [value, color] : e2enet::report::label_colors(model().labels())) {
      colors[std::to_string(value)] = {std::lround(color.red), std::lround(color.green), std::lround(color.blue)};
    }
    json["label_names"] = names;
    json["label_colors"] = colors;
    json["input_channels"] = model().input_channels();
    json["threads_used"] = segmenter().threads();
    return json.dump();
  });
}

// Files of one channel each.
int web_open_files(const char* const* paths, int channels) {
  return guarded([&] {
    session().image.reset();
    session().image = e2enet::Image::open(std::vector<std::string>(paths, paths + channels));
  });
}

// Arrays that stay as they are until the image is closed. `shape` along D, H, W; `spacing` and `affine` (row-major,
// (i, j, k, 1) to mm) may be null.
int web_open_arrays(const double* shape, const double* spacing, const double* affine, const void* const* data,
                    const int* types, int channels, const char* name) {
  return guarded([&] {
    session().image.reset();
    e2enet::Geometry geometry;
    e2enet::Spacing distances{1, 1, 1};
    if (spacing) std::copy_n(spacing, 3, distances.begin());
    if (affine && !spacing) {
      for (std::size_t axis = 0; axis < 3; ++axis) {  // the length of the column of k, j, i
        const double* column = affine + (2 - axis);
        distances[axis] = std::hypot(column[0], column[4], column[8]);
      }
    }
    e2enet::Shape size;
    for (std::size_t axis = 0; axis < 3; ++axis) size[axis] = static_cast<std::int64_t>(shape[axis]);
    geometry = e2enet::geometry_of(size, distances);
    if (affine) std::copy_n(affine, 16, geometry.affine.begin());
    std::vector<e2enet::ArrayView> views(static_cast<std::size_t>(channels));
    for (std::size_t channel = 0; channel < views.size(); ++channel) {
      views[channel].data = data[channel];
      views[channel].type = static_cast<e2enet::ScalarType>(types[channel]);
    }
    session().image = e2enet::Image::from_arrays(geometry, views, name);
  });
}

void web_close_image() { session().image.reset(); }

// {"geometry": geometry_json(), "remarks": remarks_json(), "channels", "voxels"}
const char* web_image() {
  return text_or_null([] {
    using nlohmann::ordered_json;
    return ordered_json{{"geometry", ordered_json::parse(e2enet::geometry_json(image()))},
                        {"remarks", ordered_json::parse(e2enet::remarks_json(image().remarks()))},
                        {"channels", image().channels()},
                        {"voxels", image().geometry().voxels()}}
        .dump();
  });
}

int web_read(int channel, double first, double count, float* values) {
  return guarded(
      [&] { image().read(channel, static_cast<std::int64_t>(first), static_cast<std::int64_t>(count), values); });
}

// forecast_json() of json.h.
const char* web_forecast(const double* box) {
  return text_or_null([&] { return e2enet::forecast_json(forecast_with_memory(request_of(box))); });
}

// `labels`: one a voxel, or null; `labels_file`: a NIfTI file in the module's files, or null. segmentation_json() of
// json.h.
const char* web_segment(const double* box, int mean_intensities, std::uint16_t* labels, const char* labels_file) {
  return text_or_null([&] {
    e2enet::Request request = request_of(box);
    request.labels_into = labels;
    request.mean_intensities = mean_intensities != 0;
    if (labels_file) request.labels_file = labels_file;
    forecast_with_memory(request);
    const auto progress = [](const e2enet::Progress& at) {
      return web_progress(static_cast<int>(at.stage), static_cast<double>(at.done), static_cast<double>(at.total),
                          at.seconds_left) != 0;
    };
    return e2enet::segmentation_json(segmenter().segment(image(), request, progress), request.mean_intensities);
  });
}

// The bare network on noise, for measurements: {"seconds": [...], "planned_peak_bytes", "patch", "profile":
// profile_json() of json.h}.
const char* web_bench(int runs, int threads, int precision) {
  return text_or_null([&] {
    session().segmenter.reset();  // whose memory the runner takes
    e2enet::PatchOptions options;
    options.threads = threads;
    options.precision = static_cast<e2enet::Precision>(precision);
    e2enet::PatchRunner runner(model(), options);
    const std::array<int, 3> size = model().patch_size();
    std::vector<float> patch(static_cast<std::size_t>(model().input_channels()) * static_cast<std::size_t>(size[0]) *
                             static_cast<std::size_t>(size[1]) * static_cast<std::size_t>(size[2]));
    std::uint32_t state = 1;
    for (float& value : patch) {
      state = state * 1664525u + 1013904223u;
      value = static_cast<float>(state >> 8) / 8388608.0F - 1.0F;
    }
    nlohmann::ordered_json seconds = nlohmann::ordered_json::array();
    for (int run = 0; run < runs; ++run) {
      const double start = emscripten_get_now();
      runner.run(patch.data(), nullptr);
      seconds.push_back((emscripten_get_now() - start) / 1000);
    }
    return nlohmann::ordered_json{{"seconds", seconds},
                                  {"planned_peak_bytes", runner.planned_bytes()},
                                  {"patch", size},
                                  {"profile", nlohmann::ordered_json::parse(e2enet::profile_json(runner))}}
        .dump();
  });
}

}  // extern "C"
