/* e2enet for programs in C, and for languages that call C: the C++ API with errors as return values. What may change
 * between versions is said in docs/api-stability.md: objects are opaque, options are set one by one, and no structure
 * crosses the boundary.
 *
 *   const char* path = "head.nii.gz";
 *   e2enet_model* model = NULL;
 *   e2enet_segmenter* segmenter = NULL;
 *   e2enet_image* image = NULL;
 *   e2enet_request* request = NULL;
 *   if (e2enet_model_load("model.safetensors", &model) != E2ENET_OK ||
 *       e2enet_segmenter_create(model, NULL, &segmenter) != E2ENET_OK ||
 *       e2enet_image_open(&path, 1, &image) != E2ENET_OK || e2enet_request_create(&request) != E2ENET_OK ||
 *       e2enet_request_set_labels_file(request, "labels.nii.gz") != E2ENET_OK ||
 *       e2enet_segment(segmenter, image, request, NULL) != E2ENET_OK) {
 *     fprintf(stderr, "%s\n", e2enet_last_error());
 *   }
 *   e2enet_request_free(request);
 *   e2enet_image_free(image);
 *   e2enet_segmenter_free(segmenter);
 *   e2enet_model_free(model);
 *
 * Every function that gives an object back sets the pointer to NULL first, and to the object only on success. Each kind
 * of object has a ..._free() that allows NULL; objects do not need each other to stay, but for arrays and functions of
 * the caller's. A function that returns e2enet_status refuses NULL with E2ENET_INVALID_ARGUMENT unless said otherwise;
 * one that returns a value needs an object. Texts that a function returns are valid as long as the object that they
 * come from. Axis order is D, H, W (depth, height, width; D is the slowest in memory, and the k of a NIfTI file),
 * lengths are mm.
 */
#ifndef E2ENET_E2ENET_C_H_
#define E2ENET_E2ENET_C_H_

#include <stddef.h>
#include <stdint.h>

#include "e2enet/export.h"
#include "e2enet/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a function returns. The names are those of e2enet::ErrorCode (error.h), and so are the meanings. */
typedef enum e2enet_status {
  E2ENET_OK = 0,
  E2ENET_INVALID_ARGUMENT = 1,
  E2ENET_CANNOT_READ = 2,
  E2ENET_CANNOT_WRITE = 3,
  E2ENET_INVALID_MODEL = 4,
  E2ENET_INVALID_IMAGE = 5,
  E2ENET_OUT_OF_MEMORY = 6,
  E2ENET_MEMORY_LIMIT = 7,
  E2ENET_CANCELLED = 8,
  E2ENET_INTERNAL = 9
} e2enet_status;

/* One line on what the last call of this thread that failed found wrong; "" if none ever did. Valid until the next call
 * that fails in this thread. */
E2ENET_API const char* e2enet_last_error(void);

/* A text that is the caller's: JSON, as json.h describes it. */
typedef struct e2enet_text e2enet_text;
/* Valid as long as the object. */
E2ENET_API const char* e2enet_text_string(const e2enet_text* text);
E2ENET_API void e2enet_text_free(e2enet_text* text);

/* ---- How to segment: options, set one by one. ---- */
typedef struct e2enet_options e2enet_options;

enum { E2ENET_PRECISION_F32 = 0, E2ENET_PRECISION_BF16 = 1, E2ENET_PRECISION_AUTOMATIC = 2 };
/* Of which labels only the largest component (face-connected) is kept: those that the model names, none, all. */
enum { E2ENET_LARGEST_COMPONENT_MODEL = 0, E2ENET_LARGEST_COMPONENT_NONE = 1, E2ENET_LARGEST_COMPONENT_ALL = 2 };

/* With the defaults of e2enet::Options (segmenter.h), whose meanings the options have. */
E2ENET_API e2enet_status e2enet_options_create(e2enet_options** options);
E2ENET_API void e2enet_options_free(e2enet_options* options);
/* Values are checked where the options are used. */
E2ENET_API e2enet_status e2enet_options_set_threads(e2enet_options* options, int threads);
E2ENET_API e2enet_status e2enet_options_set_precision(e2enet_options* options, int precision);
E2ENET_API e2enet_status e2enet_options_set_step(e2enet_options* options, double step);
E2ENET_API e2enet_status e2enet_options_set_mirror(e2enet_options* options, int mirror);
E2ENET_API e2enet_status e2enet_options_set_largest_component(e2enet_options* options, int largest_component);
E2ENET_API e2enet_status e2enet_options_set_allow_implausible_spacing(e2enet_options* options, int allow);
/* Bytes of resident memory that the process may have at the most; 0: what it has and three quarters of what is free. */
E2ENET_API e2enet_status e2enet_options_set_memory_limit(e2enet_options* options, int64_t bytes);
/* Memory of the caller's for the network to work in, at a multiple of 64, for as long as what is made with the options
 * lives: as much as e2enet_arena_bytes() says. NULL: the library gets its own. */
E2ENET_API e2enet_status e2enet_options_set_arena(e2enet_options* options, void* memory, size_t bytes);
/* The caller's own threads: must call body(body_context, 0) to body(body_context, threads - 1), each once and all at
 * the same time, each on a thread of its own (one may be the calling one), and return when all have returned. NULL: the
 * library's. */
typedef void (*e2enet_parallel_for)(void* context, int threads, void (*body)(void* body_context, int thread),
                                    void* body_context);
E2ENET_API e2enet_status e2enet_options_set_parallel_for(e2enet_options* options, e2enet_parallel_for parallel_for,
                                                         void* context);

/* ---- A model: immutable, any number of threads may use one at once. ---- */
typedef struct e2enet_model e2enet_model;

E2ENET_API e2enet_status e2enet_model_load(const char* path, e2enet_model** model);
/* From the bytes of a model file, which are not needed afterwards. `name` stands for it in messages. */
E2ENET_API e2enet_status e2enet_model_from_bytes(const void* bytes, size_t count, const char* name,
                                                 e2enet_model** model);
E2ENET_API void e2enet_model_free(e2enet_model* model);

E2ENET_API int e2enet_model_input_channels(const e2enet_model* model);
E2ENET_API int e2enet_model_classes(const e2enet_model* model);
/* The largest value that the labels of an image can have. */
E2ENET_API int e2enet_model_largest_label(const e2enet_model* model);
/* Depth, height, width in voxels. */
E2ENET_API void e2enet_model_patch_size(const e2enet_model* model, int patch_size[3]);
/* Label values with names; 0 is the background. The value number `index` in ascending order, or -1. */
E2ENET_API int e2enet_model_label_count(const e2enet_model* model);
E2ENET_API int e2enet_model_label(const e2enet_model* model, int index);
/* The name of a label value, or NULL if the model has no such label. */
E2ENET_API const char* e2enet_model_label_name(const e2enet_model* model, int value);
E2ENET_API int64_t e2enet_model_parameters(const e2enet_model* model);
/* Of one patch, in the two conventions of docs/flops.md; below 0 where there is no memory to count them. */
E2ENET_API double e2enet_model_flops_paper(const e2enet_model* model);
E2ENET_API double e2enet_model_flops_executed(const e2enet_model* model);
/* The bytes that an arena must have for the network on patches of this size; NULL: the model's own, which a segmenter
 * has. Of `options`, which may be NULL, threads and precision count. */
E2ENET_API e2enet_status e2enet_arena_bytes(const e2enet_model* model, const e2enet_options* options,
                                            const int patch[3], size_t* bytes);
/* model_json() of json.h. Of `options`, which may be NULL, threads and precision count; `patch` NULL: the model's own.
 */
E2ENET_API e2enet_status e2enet_model_json(const e2enet_model* model, const e2enet_options* options, const int patch[3],
                                           e2enet_text** json);

/* ---- An image. One thread at a time. ---- */
typedef struct e2enet_image e2enet_image;

/* The type of one voxel in memory, in this machine's byte order. */
enum {
  E2ENET_UINT8 = 0,
  E2ENET_INT8 = 1,
  E2ENET_UINT16 = 2,
  E2ENET_INT16 = 3,
  E2ENET_UINT32 = 4,
  E2ENET_INT32 = 5,
  E2ENET_UINT64 = 6,
  E2ENET_INT64 = 7,
  E2ENET_FLOAT32 = 8,
  E2ENET_FLOAT64 = 9
};

/* Files of one channel each. Headers are read and checked, no voxel is. */
E2ENET_API e2enet_status e2enet_image_open(const char* const* paths, int channels, e2enet_image** image);
/* A DICOM series (docs/dicom.md): `paths` are folders or files. `series`, UIDs or numbers, one for all paths or one a
 * channel; NULL with 0: the only one that is a volume. `regrid` nonzero: slices at uneven distances are taken. */
E2ENET_API e2enet_status e2enet_image_open_dicom(const char* const* paths, int path_count, const char* const* series,
                                                 int series_count, int regrid, e2enet_image** image);

/* Arrays in the caller's memory, which must stay as they are while the image is in use; nothing is copied as a whole.
 * `shape`: of every channel, in voxels.
 * `spacing`: mm; NULL: as long as the affine's columns are.
 * `affine`: row-major, (w, h, d, 1) to mm: to the right, to the front, upwards; NULL: at the origin, W to the right, H
 * to the front, D upwards. Not both NULL. E2ENET_INVALID_ARGUMENT where its columns are zero or not independent.
 * `channels`, `types`: the first voxel and the E2ENET_UINT8 to E2ENET_FLOAT64 of each channel.
 * `strides`: for each channel three, bytes from a voxel to the next along D, H, W; negative where an axis runs
 * backwards; three zeros, or NULL for all: without gaps, W fastest.
 * `name` stands for the image in messages; NULL: "image". */
E2ENET_API e2enet_status e2enet_image_from_arrays(const int64_t shape[3], const double spacing[3],
                                                  const double affine[16], const void* const* channels,
                                                  const int* types, const int64_t* strides, int channel_count,
                                                  const char* name, e2enet_image** image);

/* Gives slices [first, first + count) of a channel as float32, W fastest; 0 on success, anything else ends the work
 * (E2ENET_CANNOT_READ). Called on the thread that called e2enet_segment(); slices ascend, and each pass over the image
 * begins at 0 again. */
typedef int (*e2enet_slice_reader)(void* context, int channel, int64_t first, int64_t count, float* values);
/* Geometry and name as above. */
E2ENET_API e2enet_status e2enet_image_from_slices(const int64_t shape[3], const double spacing[3],
                                                  const double affine[16], int channels, e2enet_slice_reader reader,
                                                  void* context, const char* name, e2enet_image** image);
E2ENET_API void e2enet_image_free(e2enet_image* image);

E2ENET_API int e2enet_image_channels(const e2enet_image* image);
/* Any of the three may be NULL. */
E2ENET_API void e2enet_image_geometry(const e2enet_image* image, int64_t shape[3], double spacing[3],
                                      double affine[16]);
/* What the image says of itself that its user should know, a line each, warnings beginning with "warning: "; "" where
 * nothing. */
E2ENET_API const char* e2enet_image_remarks(const e2enet_image* image);
/* geometry_json() of json.h. */
E2ENET_API e2enet_status e2enet_image_json(const e2enet_image* image, e2enet_text** json);
/* Slices [first, first + count) of a channel as float32. */
E2ENET_API e2enet_status e2enet_image_read(e2enet_image* image, int channel, int64_t first, int64_t count,
                                           float* values);

/* ---- What is wanted of an image. ---- */
typedef struct e2enet_request e2enet_request;

E2ENET_API e2enet_status e2enet_request_create(e2enet_request** request);
E2ENET_API void e2enet_request_free(e2enet_request* request);
/* Segment only these voxels, half-open, D, H, W; background outside of it. Both NULL: all. */
E2ENET_API e2enet_status e2enet_request_set_box(e2enet_request* request, const int64_t begin[3], const int64_t end[3]);
/* The caller's array for one label a voxel, D, H, W order, `count` of them: as many as the image has voxels. Written
 * while the work goes on, without a copy in between: undefined when it fails. NULL: none. */
E2ENET_API e2enet_status e2enet_request_set_labels(e2enet_request* request, uint16_t* labels, size_t count);
/* The same for (classes, D, H, W) probabilities. */
E2ENET_API e2enet_status e2enet_request_set_probabilities(e2enet_request* request, float* probabilities, size_t count);
/* Takes slices [first_slice, first_slice + slices) of the labels from the first to the last; 0 on success, anything
 * else ends the work (E2ENET_CANCELLED). Called on the thread that called e2enet_segment(). */
typedef int (*e2enet_label_callback)(void* context, int64_t first_slice, int64_t slices, const uint16_t* labels);
E2ENET_API e2enet_status e2enet_request_set_label_callback(e2enet_request* request, e2enet_label_callback callback,
                                                           void* context);
/* Called at least once a tile, on the thread that called e2enet_segment(). `stage` is 0 (prepare), 1 (segment), 2
 * (export) or 3 (write), later versions may have more; `seconds_left` is below 0 while not known. Return 0 to cancel
 * (E2ENET_CANCELLED), anything else to go on. */
typedef int (*e2enet_progress)(void* context, int stage, int64_t done, int64_t total, double seconds_left);
E2ENET_API e2enet_status e2enet_request_set_progress(e2enet_request* request, e2enet_progress progress, void* context);
/* Of the image's voxels, in the segmentation's statistics; needs the image a second time. */
E2ENET_API e2enet_status e2enet_request_set_mean_intensities(e2enet_request* request, int wanted);
/* Files get their names when everything else has been done, the labels' last. NULL or "": none. */
E2ENET_API e2enet_status e2enet_request_set_labels_file(e2enet_request* request, const char* path);
/* For a labels file NAME.dcm of an image that is no DICOM itself: the series that it was converted from. `series`, a
 * UID or number, may be NULL. */
E2ENET_API e2enet_status e2enet_request_set_dicom_reference(e2enet_request* request, const char* path,
                                                            const char* series);
E2ENET_API e2enet_status e2enet_request_set_probabilities_file(e2enet_request* request, const char* path);
E2ENET_API e2enet_status e2enet_request_set_preview_file(e2enet_request* request, const char* path);

/* ---- Doing it. A segmenter holds a plan and its working memory; one thread at a time, several may share a model. ----
 */
typedef struct e2enet_segmenter e2enet_segmenter;
typedef struct e2enet_segmentation e2enet_segmentation;

/* `options` NULL: the defaults. */
E2ENET_API e2enet_status e2enet_segmenter_create(const e2enet_model* model, const e2enet_options* options,
                                                 e2enet_segmenter** segmenter);
E2ENET_API void e2enet_segmenter_free(e2enet_segmenter* segmenter);
/* How many threads are used. */
E2ENET_API int e2enet_segmenter_threads(const e2enet_segmenter* segmenter);
/* Working memory of the network: features, scratch, packed weights. */
E2ENET_API int64_t e2enet_segmenter_planned_bytes(const e2enet_segmenter* segmenter);

/* Does what the request says. `segmentation`, which may be NULL, is what was found out on the way; it needs a free. */
E2ENET_API e2enet_status e2enet_segment(e2enet_segmenter* segmenter, const e2enet_image* image,
                                        const e2enet_request* request, e2enet_segmentation** segmentation);
E2ENET_API void e2enet_segmentation_free(e2enet_segmentation* segmentation);
/* Nonzero: the image had no nonzero voxel, and everything is background. */
E2ENET_API int e2enet_segmentation_empty_image(const e2enet_segmentation* segmentation);
/* Label values with statistics: of the model but the background, and every other that occurred. The value number
 * `index` in ascending order, or -1. */
E2ENET_API int e2enet_segmentation_label_count(const e2enet_segmentation* segmentation);
E2ENET_API int e2enet_segmentation_label(const e2enet_segmentation* segmentation, int index);
/* Of a label value; -1 where there are no statistics of it. */
E2ENET_API int64_t e2enet_segmentation_voxels(const e2enet_segmentation* segmentation, int value);
E2ENET_API double e2enet_segmentation_ml(const e2enet_segmentation* segmentation, int value);
/* segmentation_json() of json.h. */
E2ENET_API e2enet_status e2enet_segmentation_json(const e2enet_segmentation* segmentation, e2enet_text** json);

/* How an image would be segmented, without reading a voxel. The network runs twice on noise the first time, to know its
 * speed. */
typedef struct e2enet_forecast e2enet_forecast;
E2ENET_API e2enet_status e2enet_segmenter_forecast(e2enet_segmenter* segmenter, const e2enet_image* image,
                                                   const e2enet_request* request, e2enet_forecast** forecast);
E2ENET_API void e2enet_forecast_free(e2enet_forecast* forecast);
/* Nonzero: it can be done within the memory limit. */
E2ENET_API int e2enet_forecast_fits(const e2enet_forecast* forecast);
/* Resident memory of the process at the most. */
E2ENET_API int64_t e2enet_forecast_peak_bytes(const e2enet_forecast* forecast);
E2ENET_API int64_t e2enet_forecast_smallest_limit_bytes(const e2enet_forecast* forecast);
/* Of the network: tiles times mirrored copies. */
E2ENET_API int64_t e2enet_forecast_runs(const e2enet_forecast* forecast);
/* That the network takes; reading and writing come on top. */
E2ENET_API double e2enet_forecast_seconds(const e2enet_forecast* forecast);
/* forecast_json() of json.h. */
E2ENET_API e2enet_status e2enet_forecast_json(const e2enet_forecast* forecast, e2enet_text** json);

/* ---- The bare network on patches, for devices and measurements. ---- */
typedef struct e2enet_patch_runner e2enet_patch_runner;

/* Of the options, threads, parallel_for, arena and precision (f32, bf16) count. `patch` NULL: the model's own.
 * `algorithm` NULL: "auto" (PatchOptions of patch_runner.h). */
E2ENET_API e2enet_status e2enet_patch_runner_create(const e2enet_model* model, const e2enet_options* options,
                                                    const int patch[3], const char* algorithm,
                                                    e2enet_patch_runner** runner);
E2ENET_API void e2enet_patch_runner_free(e2enet_patch_runner* runner);
/* Depth, height, width in voxels. */
E2ENET_API void e2enet_patch_runner_patch(const e2enet_patch_runner* runner, int patch[3]);
/* `patch` is (channels, D, H, W), already normalised; writes (classes, D, H, W) logits; NULL: they are thrown away. */
E2ENET_API e2enet_status e2enet_patch_runner_run(e2enet_patch_runner* runner, const float* patch, float* logits);
/* Working memory of the network: features, scratch, packed weights. */
E2ENET_API int64_t e2enet_patch_runner_planned_bytes(const e2enet_patch_runner* runner);
/* profile_json() of json.h: of the last patch. */
E2ENET_API e2enet_status e2enet_patch_runner_json(const e2enet_patch_runner* runner, e2enet_text** json);

/* ---- How good labels are (docs/metrics.md). ---- */
typedef struct e2enet_scores e2enet_scores;

/* Two label volumes on the same voxels: Dice, normalised surface Dice at `tolerance` mm, 95% Hausdorff distance of each
 * of `labels`; NULL: of every value but 0 that occurs in either. `threads` 0: as many as this process may use. */
E2ENET_API e2enet_status e2enet_evaluate(const uint16_t* prediction, const uint16_t* reference, const int64_t shape[3],
                                         const double spacing[3], double tolerance, const int* labels, int label_count,
                                         int threads, e2enet_scores** scores);
/* The same of two label files. E2ENET_INVALID_IMAGE where their shapes differ, or their axes run differently in space:
 * voxels of the same index have nothing in common then. Where only place, spacing or angles differ,
 * e2enet_scores_remarks() says so. */
E2ENET_API e2enet_status e2enet_evaluate_files(const char* prediction, const char* reference, double tolerance,
                                               const int* labels, int label_count, int threads, e2enet_scores** scores);
E2ENET_API void e2enet_scores_free(e2enet_scores* scores);
/* Label values that were asked for. The value number `index` in ascending order, or -1. */
E2ENET_API int e2enet_scores_label_count(const e2enet_scores* scores);
E2ENET_API int e2enet_scores_label(const e2enet_scores* scores, int index);
/* Of a label value; NaN where there is no score, since neither volume has the label. The distance, in mm, is infinite
 * where only one of them has it. */
E2ENET_API double e2enet_scores_dice(const e2enet_scores* scores, int value);
E2ENET_API double e2enet_scores_nsd(const e2enet_scores* scores, int value);
E2ENET_API double e2enet_scores_hd95(const e2enet_scores* scores, int value);
/* What the user of two files should know, as e2enet_image_remarks(). */
E2ENET_API const char* e2enet_scores_remarks(const e2enet_scores* scores);
/* scores_json() of json.h. */
E2ENET_API e2enet_status e2enet_scores_json(const e2enet_scores* scores, e2enet_text** json);

/* ---- The machine. ---- */
/* That kernels use: "AVX3_ZEN4", "AVX2", "NEON". */
E2ENET_API const char* e2enet_instruction_set(void);
E2ENET_API int e2enet_available_threads(void);
E2ENET_API int64_t e2enet_resident_bytes(void);
E2ENET_API int64_t e2enet_peak_resident_bytes(void);

#ifdef __cplusplus
}
#endif

#endif /* E2ENET_E2ENET_C_H_ */
