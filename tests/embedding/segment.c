/* The C functions from C: compiles as C, an error arrives with its message, and an array of int16 becomes labels. */
#include <e2enet/e2enet_c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char** arguments) {
  const int64_t shape[3] = {12, 20, 16};
  const double spacing[3] = {1, 1, 1};
  const size_t voxels = 12 * 20 * 16;
  const int type = E2ENET_INT16;
  int16_t* values = malloc(voxels * sizeof(int16_t));
  uint16_t* labels = malloc(voxels * sizeof(uint16_t));
  const void* channel = values;
  e2enet_model* model = NULL;
  e2enet_segmenter* segmenter = NULL;
  e2enet_image* image = NULL;
  e2enet_request* request = NULL;
  e2enet_segmentation* found = NULL;
  size_t i;
  int failed;
  if (count != 2 || !values || !labels) return 2;
  if (e2enet_version_number() < E2ENET_VERSION_NUMBER) return 3;
  if (e2enet_model_load("no such file", &model) != E2ENET_CANNOT_READ || !strstr(e2enet_last_error(), "no such file")) {
    return 1;
  }
  for (i = 0; i < voxels; ++i) values[i] = (int16_t)(i % 97);
  failed = e2enet_model_load(arguments[1], &model) != E2ENET_OK ||
           e2enet_segmenter_create(model, NULL, &segmenter) != E2ENET_OK ||
           e2enet_image_from_arrays(shape, spacing, NULL, &channel, &type, NULL, 1, NULL, &image) != E2ENET_OK ||
           e2enet_request_create(&request) != E2ENET_OK ||
           e2enet_request_set_labels(request, labels, voxels) != E2ENET_OK ||
           e2enet_segment(segmenter, image, request, &found) != E2ENET_OK;
  if (failed) fprintf(stderr, "%s\n", e2enet_last_error());
  for (i = 0; !failed && i < voxels; ++i) failed = labels[i] > e2enet_model_largest_label(model);
  e2enet_segmentation_free(found);
  e2enet_request_free(request);
  e2enet_image_free(image);
  e2enet_segmenter_free(segmenter);
  e2enet_model_free(model);
  free(labels);
  free(values);
  return failed;
}
