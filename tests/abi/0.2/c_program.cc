// What a program in C did with version 0.2, compiled against the headers of that version, which lie beside it and never
// change: it must go on working with every later library (docs/api-stability.md). Calls every function that was there.
//
//   c_program MODEL.safetensors LABELS.nii
#include <e2enet/e2enet_c.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#define CHECK(condition)                                                                            \
  do {                                                                                              \
    if (!(condition)) {                                                                             \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, e2enet_last_error()); \
      return 1;                                                                                     \
    }                                                                                               \
  } while (false)
#define DONE(call) CHECK((call) == E2ENET_OK)

static int steps = 0, slices_seen = 0;
static int on_progress(void*, int stage, int64_t, int64_t, double) { return ++steps, stage >= 0; }
static int on_labels(void*, int64_t, int64_t slices, const uint16_t*) {
  return slices_seen += static_cast<int>(slices), 0;
}
static int read_slices(void* context, int, int64_t first, int64_t count, float* values) {
  const int16_t* voxels = static_cast<const int16_t*>(context) + first * 320;
  for (int64_t i = 0; i < count * 320; ++i) values[i] = voxels[i];
  return 0;
}
static void one_thread(void*, int threads, void (*body)(void*, int), void* of_body) {
  for (int thread = 0; thread < threads; ++thread) body(of_body, thread);
}
static int is_object(e2enet_text* text) {
  const int right = text && e2enet_text_string(text)[0] == '{';
  e2enet_text_free(text);
  return right;
}

int main(int count, char** arguments) {
  if (count != 3) return 2;
  CHECK(e2enet_version_number() >= E2ENET_VERSION_NUMBER && std::strlen(e2enet_version()) > 0);
  CHECK(e2enet_available_threads() > 0 && e2enet_resident_bytes() >= 0 && e2enet_peak_resident_bytes() >= 0);
  CHECK(std::strlen(e2enet_instruction_set()) > 0);

  e2enet_text* text = nullptr;
  e2enet_model* model = nullptr;
  CHECK(e2enet_model_load("no such file", &model) == E2ENET_CANNOT_READ && e2enet_last_error()[0] != 0);
  CHECK(e2enet_model_from_bytes("no model", 8, "bytes", &model) == E2ENET_INVALID_MODEL);
  DONE(e2enet_model_load(arguments[1], &model));
  int patch[3];
  e2enet_model_patch_size(model, patch);
  CHECK(patch[0] > 0 && e2enet_model_input_channels(model) == 1 && e2enet_model_classes(model) == 3);
  CHECK(e2enet_model_largest_label(model) == 2 && e2enet_model_label_count(model) == 3);
  CHECK(e2enet_model_label(model, 1) == 1 && e2enet_model_label_name(model, 1) && e2enet_model_parameters(model) > 0);
  CHECK(e2enet_model_flops_paper(model) > 0 && e2enet_model_flops_executed(model) > 0);

  e2enet_options* options = nullptr;
  DONE(e2enet_options_create(&options));
  DONE(e2enet_options_set_threads(options, 1));
  DONE(e2enet_options_set_precision(options, E2ENET_PRECISION_F32));
  DONE(e2enet_options_set_step(options, 0.5));
  DONE(e2enet_options_set_mirror(options, 0));
  DONE(e2enet_options_set_largest_component(options, E2ENET_LARGEST_COMPONENT_MODEL));
  DONE(e2enet_options_set_allow_implausible_spacing(options, 0));
  DONE(e2enet_options_set_memory_limit(options, 0));
  DONE(e2enet_options_set_parallel_for(options, one_thread, nullptr));
  size_t bytes = 0;
  DONE(e2enet_arena_bytes(model, options, nullptr, &bytes));
  void* const arena = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  CHECK(arena);
  DONE(e2enet_options_set_arena(options, arena, bytes));
  DONE(e2enet_model_json(model, options, nullptr, &text));
  CHECK(is_object(text));

  const int64_t shape[3] = {12, 20, 16};
  const double spacing[3] = {1, 1, 1};
  const size_t voxels = 12 * 20 * 16;
  auto* const values = static_cast<int16_t*>(std::malloc(voxels * sizeof(int16_t)));
  auto* const labels = static_cast<uint16_t*>(std::malloc(voxels * sizeof(uint16_t)));
  auto* const probabilities = static_cast<float*>(std::malloc(3 * voxels * sizeof(float)));
  CHECK(values && labels && probabilities);
  for (size_t i = 0; i < voxels; ++i) values[i] = static_cast<int16_t>(i % 97);
  const void* channel = values;
  const int type = E2ENET_INT16;
  const int64_t strides[3] = {640, 32, 2};
  e2enet_image *image = nullptr, *streamed = nullptr, *opened = nullptr;
  DONE(e2enet_image_from_arrays(shape, spacing, nullptr, &channel, &type, strides, 1, "array", &image));
  DONE(e2enet_image_from_slices(shape, spacing, nullptr, 1, read_slices, values, "slices", &streamed));
  int64_t found_shape[3];
  double found_spacing[3], affine[16];
  e2enet_image_geometry(image, found_shape, found_spacing, affine);
  CHECK(found_shape[1] == 20 && found_spacing[0] == 1 && affine[15] == 1 && e2enet_image_channels(image) == 1);
  CHECK(e2enet_image_remarks(image)[0] == 0);
  DONE(e2enet_image_json(image, &text));
  CHECK(is_object(text));
  float slice[320];
  DONE(e2enet_image_read(image, 0, 3, 1, slice));
  CHECK(e2enet_image_open_dicom(nullptr, 0, nullptr, 0, 0, &opened) == E2ENET_INVALID_ARGUMENT);
  CHECK(slice[5] == values[3 * 320 + 5]);

  e2enet_request* request = nullptr;
  const int64_t begin[3] = {0, 0, 0};
  DONE(e2enet_request_create(&request));
  DONE(e2enet_request_set_box(request, begin, shape));
  DONE(e2enet_request_set_labels(request, labels, voxels));
  DONE(e2enet_request_set_probabilities(request, probabilities, 3 * voxels));
  DONE(e2enet_request_set_label_callback(request, on_labels, nullptr));
  DONE(e2enet_request_set_progress(request, on_progress, nullptr));
  DONE(e2enet_request_set_mean_intensities(request, 1));
  DONE(e2enet_request_set_labels_file(request, arguments[2]));
  DONE(e2enet_request_set_probabilities_file(request, nullptr));
  DONE(e2enet_request_set_preview_file(request, nullptr));
  DONE(e2enet_request_set_dicom_reference(request, nullptr, nullptr));

  e2enet_segmenter* segmenter = nullptr;
  DONE(e2enet_segmenter_create(model, options, &segmenter));
  CHECK(e2enet_segmenter_threads(segmenter) == 1 && e2enet_segmenter_planned_bytes(segmenter) > 0);
  e2enet_forecast* forecast = nullptr;
  DONE(e2enet_segmenter_forecast(segmenter, image, request, &forecast));
  CHECK(e2enet_forecast_fits(forecast) && e2enet_forecast_peak_bytes(forecast) > 0 &&
        e2enet_forecast_runs(forecast) > 0);
  CHECK(e2enet_forecast_smallest_limit_bytes(forecast) > 0 && e2enet_forecast_seconds(forecast) > 0);
  DONE(e2enet_forecast_json(forecast, &text));
  CHECK(is_object(text));
  e2enet_segmentation* found = nullptr;
  DONE(e2enet_segment(segmenter, image, request, &found));
  CHECK(steps > 1 && slices_seen == 12 && !e2enet_segmentation_empty_image(found));
  CHECK(e2enet_segmentation_label_count(found) == 2 && e2enet_segmentation_label(found, 0) == 1);
  CHECK(e2enet_segmentation_voxels(found, 1) >= 0 && e2enet_segmentation_ml(found, 1) >= 0);
  DONE(e2enet_segmentation_json(found, &text));
  CHECK(is_object(text));
  for (size_t i = 0; i < voxels; ++i) CHECK(labels[i] <= 2 && probabilities[i] >= 0);
  DONE(e2enet_request_set_labels_file(request, ""));
  DONE(e2enet_segment(segmenter, streamed, request, nullptr));
  const char* const paths[1] = {arguments[2]};
  DONE(e2enet_image_open(paths, 1, &opened));

  e2enet_patch_runner* runner = nullptr;
  DONE(e2enet_options_set_arena(options, nullptr, 0));
  DONE(e2enet_patch_runner_create(model, options, patch, "auto", &runner));
  e2enet_patch_runner_patch(runner, patch);
  auto* const input = static_cast<float*>(
      std::calloc(static_cast<size_t>(patch[0]) * static_cast<size_t>(patch[1]) * static_cast<size_t>(patch[2]), 4));
  CHECK(input && e2enet_patch_runner_planned_bytes(runner) > 0);
  DONE(e2enet_patch_runner_run(runner, input, nullptr));
  DONE(e2enet_patch_runner_json(runner, &text));
  CHECK(is_object(text));

  e2enet_scores* scores = nullptr;
  labels[0] = 1;
  DONE(e2enet_evaluate(labels, labels, shape, spacing, 1.0, nullptr, 0, 1, &scores));
  CHECK(e2enet_scores_label_count(scores) >= 1 && e2enet_scores_label(scores, 0) == 1);
  CHECK(e2enet_scores_dice(scores, 1) == 1 && e2enet_scores_nsd(scores, 1) == 1 && e2enet_scores_hd95(scores, 1) == 0);
  CHECK(e2enet_scores_remarks(scores)[0] == 0);
  DONE(e2enet_scores_json(scores, &text));
  CHECK(is_object(text));
  e2enet_scores* of_files = nullptr;
  DONE(e2enet_evaluate_files(arguments[2], arguments[2], 1.0, nullptr, 0, 1, &of_files));

  e2enet_scores_free(of_files);
  e2enet_scores_free(scores);
  e2enet_patch_runner_free(runner);
  e2enet_segmentation_free(found);
  e2enet_forecast_free(forecast);
  e2enet_segmenter_free(segmenter);
  e2enet_request_free(request);
  e2enet_image_free(opened);
  e2enet_image_free(streamed);
  e2enet_image_free(image);
  e2enet_options_free(options);
  e2enet_model_free(model);
  std::free(input);
  std::free(probabilities);
  std::free(labels);
  std::free(values);
  std::free(arena);
  std::puts("done");
  return 0;
}
