/* The C functions from C: compiles as C, and an error arrives with its message. */
#include <e2enet/e2enet_c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char** arguments) {
  e2enet_model* model = NULL;
  e2enet_segmenter* segmenter = NULL;
  const size_t voxels = 12 * 20 * 16;
  float* values = malloc(voxels * sizeof(float));
  uint16_t* labels = malloc(voxels * sizeof(uint16_t));
  const float* channels[1];
  e2enet_image image = {{12, 20, 16}, {1, 1, 1}, {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}, 1, channels};
  size_t i;
  int failed;
  if (count != 2 || !values || !labels) return 2;
  if (e2enet_model_load("no such file", &model) != E2ENET_CANNOT_READ || !strstr(e2enet_last_error(), "no such file")) {
    return 1;
  }
  for (i = 0; i < voxels; ++i) values[i] = (float)(i % 97);
  channels[0] = values;
  failed = e2enet_model_load(arguments[1], &model) != E2ENET_OK ||
           e2enet_segmenter_create(model, NULL, &segmenter) != E2ENET_OK ||
           e2enet_segment(segmenter, &image, labels, NULL, NULL, NULL) != E2ENET_OK;
  if (failed) fprintf(stderr, "%s\n", e2enet_last_error());
  for (i = 0; !failed && i < voxels; ++i) failed = labels[i] >= e2enet_model_classes(model);
  e2enet_segmenter_free(segmenter);
  e2enet_model_free(model);
  free(labels);
  free(values);
  return failed;
}
