/* Segments a file from C, with progress and the volumes of the structures.
 *
 *   segment_file_c MODEL.safetensors HEAD.nii.gz LABELS.nii.gz
 */
#include <e2enet/e2enet_c.h>
#include <inttypes.h>
#include <stdio.h>

static int show_progress(void* context, int stage, int64_t done, int64_t total, double seconds_left) {
  (void)context;
  (void)seconds_left;
  if (stage == 1) fprintf(stderr, "\r%" PRId64 " of %" PRId64 " tiles", done, total);
  return 1; /* 0 cancels */
}

int main(int count, char** arguments) {
  e2enet_model* model = NULL;
  e2enet_segmenter* segmenter = NULL;
  e2enet_image* image = NULL;
  e2enet_request* request = NULL;
  e2enet_segmentation* found = NULL;
  const char* path = NULL;
  int index, failed;
  if (count != 4) {
    fprintf(stderr, "Usage: segment_file_c MODEL.safetensors HEAD.nii.gz LABELS.nii.gz\n");
    return 2;
  }
  path = arguments[2];
  failed = e2enet_model_load(arguments[1], &model) != E2ENET_OK ||
           e2enet_segmenter_create(model, NULL, &segmenter) != E2ENET_OK ||
           e2enet_image_open(&path, 1, &image) != E2ENET_OK || e2enet_request_create(&request) != E2ENET_OK ||
           e2enet_request_set_labels_file(request, arguments[3]) != E2ENET_OK ||
           e2enet_request_set_progress(request, show_progress, NULL) != E2ENET_OK ||
           e2enet_segment(segmenter, image, request, &found) != E2ENET_OK;
  fprintf(stderr, "\n");
  if (failed) fprintf(stderr, "segment_file_c: error: %s\n", e2enet_last_error());
  for (index = 0; !failed && index < e2enet_segmentation_label_count(found); ++index) {
    const int label = e2enet_segmentation_label(found, index);
    const char* name = e2enet_model_label_name(model, label);
    printf("%d %s %.3f mL\n", label, name ? name : "", e2enet_segmentation_ml(found, label));
  }
  e2enet_segmentation_free(found);
  e2enet_request_free(request);
  e2enet_image_free(image);
  e2enet_segmenter_free(segmenter);
  e2enet_model_free(model);
  return failed;
}
