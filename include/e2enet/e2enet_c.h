/* e2enet for programs in C, and for languages that call C. The same library as e2enet.h, with errors as return values.
 *
 *   e2enet_model* model = NULL;
 *   e2enet_segmenter* segmenter = NULL;
 *   if (e2enet_model_load("model.safetensors", &model) != E2ENET_OK ||
 *       e2enet_segmenter_create(model, NULL, &segmenter) != E2ENET_OK ||
 *       e2enet_segment(segmenter, &image, labels, NULL, NULL, NULL) != E2ENET_OK) {
 *     fprintf(stderr, "%s\n", e2enet_last_error());
 *   }
 *   e2enet_segmenter_free(segmenter);
 *   e2enet_model_free(model);
 */
#ifndef E2ENET_E2ENET_C_H_
#define E2ENET_E2ENET_C_H_

#include <stdint.h>

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

/* One line on what the last call of this thread that did not return E2ENET_OK found wrong; "" if none ever did. Valid
 * until the next call that fails in this thread. */
const char* e2enet_last_error(void);

/* A loaded, checked model: immutable, any number of threads may use it at once. */
typedef struct e2enet_model e2enet_model;

/* Reads a model file. On success *model must be given to e2enet_model_free(); on failure it is NULL. */
e2enet_status e2enet_model_load(const char* path, e2enet_model** model);
/* NULL is allowed. Segmenters made from the model stay valid. */
void e2enet_model_free(e2enet_model* model);

int e2enet_model_input_channels(const e2enet_model* model);
int e2enet_model_classes(const e2enet_model* model);
/* Depth, height, width in voxels. */
void e2enet_model_patch_size(const e2enet_model* model, int patch_size[3]);
/* The name of a label value, or NULL if the model has no such label. Valid as long as the model. */
const char* e2enet_model_label_name(const e2enet_model* model, int value);

/* Of which labels only the largest component (face-connected) is kept: those that the model names, none, all. */
enum { E2ENET_LARGEST_COMPONENT_MODEL = 0, E2ENET_LARGEST_COMPONENT_ALL = 1, E2ENET_LARGEST_COMPONENT_NONE = 2 };

typedef struct e2enet_options {
  int threads;           /* 0: as many as this process may use; more than that are not started. At most 4096 */
  int bf16;              /* nonzero: features stored in bfloat16, half the memory */
  double step;           /* distance of neighbouring tiles as a fraction of the patch, at most 1 and at least a voxel */
  int mirror;            /* nonzero: average over mirrored copies of each tile */
  int largest_component; /* one of E2ENET_LARGEST_COMPONENT_... */
  int probabilities;     /* nonzero: e2enet_segment() can also give probabilities */
  /* nonzero: take an image whose spacing is implausible (a field of view along an axis above 3 m, or below 5 mm with
   * voxels below 0.1 mm, or more than ten times the model's spacing or less than a tenth of it), which is refused
   * otherwise */
  int allow_implausible_spacing;
} e2enet_options;

/* Fills in the defaults: 0, 0, 0.5, 0, 0, 0, 0. Call it before setting single fields: later versions may add some. */
void e2enet_options_default(e2enet_options* options);

/* A plan and its working memory. One thread at a time; several segmenters may share a model. */
typedef struct e2enet_segmenter e2enet_segmenter;

/* `options` NULL: the defaults. On success *segmenter must be given to e2enet_segmenter_free(); on failure it is NULL.
 */
e2enet_status e2enet_segmenter_create(const e2enet_model* model, const e2enet_options* options,
                                      e2enet_segmenter** segmenter);
/* NULL is allowed. */
void e2enet_segmenter_free(e2enet_segmenter* segmenter);

typedef struct e2enet_image {
  int64_t shape[3];  /* depth, height, width, 1 to 32767; voxel (d, h, w) is element (d * height + h) * width + w */
  double spacing[3]; /* mm, in the same order */
  /* row-major, (w, h, d, 1) to mm: to the right, to the front, upwards. It must be there: E2ENET_INVALID_ARGUMENT where
   * its columns are zero or not independent. Where it contradicts the spacing, e2enet_segmenter_remarks() says so;
   * distances go by the spacing, directions by the affine. */
  double affine[16];
  int channels;
  const float* const* voxels; /* one pointer a channel */
} e2enet_image;

/* Called on the thread that called e2enet_segment(), at least once a tile. `stage` is 0 (prepare), 1 (segment) or 2
 * (export); `seconds_left` is below 0 while not known. Return 0 to cancel, anything else to go on. */
typedef int (*e2enet_progress)(void* context, int stage, int64_t done, int64_t total, double seconds_left);

/* Segments an image. `labels` receives one value a voxel. `probabilities`, which may be NULL, receives (classes, depth,
 * height, width) values and needs a segmenter made with that option. `progress` may be NULL. When the call fails, what
 * is in `labels` and `probabilities` is as before. */
e2enet_status e2enet_segment(e2enet_segmenter* segmenter, const e2enet_image* image, uint16_t* labels,
                             float* probabilities, e2enet_progress progress, void* context);

/* What the last e2enet_segment() of this segmenter that succeeded found peculiar about the image's geometry, one line
 * each, ended by a newline; "" where nothing. Valid until the next call with this segmenter. */
const char* e2enet_segmenter_remarks(const e2enet_segmenter* segmenter);

#ifdef __cplusplus
}
#endif

#endif /* E2ENET_E2ENET_C_H_ */
