// Segments a file in ten lines.
//
//   segment_file MODEL.safetensors HEAD.nii.gz LABELS.nii.gz
#include <e2enet/e2enet.h>

#include <iostream>

int main(int count, char** arguments) try {
  if (count != 4) throw e2enet::Error(e2enet::ErrorCode::invalid_argument, "expected MODEL IMAGE LABELS");
  e2enet::Segmenter segmenter(e2enet::Model::load(arguments[1]));
  e2enet::Request request;
  request.labels_file = arguments[3];
  for (const auto& [label, of_label] : segmenter.segment(e2enet::Image::open(arguments[2]), request).statistics) {
    std::cout << label << " " << of_label.name << " " << of_label.ml << " mL\n";
  }
} catch (const e2enet::Error& error) {
  std::cerr << "segment_file: error: " << error.what() << "\n";
  return 1;
}
