// The one place that talks to oneDNN: a 2D convolution primitive, made once and run by one thread at a time per
// context. Nothing of oneDNN's own interface appears here, so that its version matters to backend.cc only.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace e2enet::kernels::onednn {

// A 3x3 convolution over an input that carries its own border: the output is ((height - 3) / stride + 1) high.
// Images lie as (batch, height, width, channels).
struct Convolution2dShape {
  int batch = 1;
  int inputs = 1;
  int outputs = 1;
  int height = 3;  // of the input
  int width = 3;
  int stride_height = 1;
  int stride_width = 1;
};

class Convolution2d;

// What oneDNN would do for a shape.
class Convolution2dPlan {
 public:
  // nullptr where oneDNN has no primitive for the shape on this processor; throws Error (out_of_memory) where memory
  // lacks.
  static std::unique_ptr<Convolution2dPlan> make(const Convolution2dShape& shape);
  ~Convolution2dPlan();

  std::size_t packed_bytes() const;      // the reordered weights
  std::size_t scratchpad_bytes() const;  // for Convolution2d::execute(), 64-byte aligned
  std::string implementation() const;    // oneDNN's name of what it chose

  // `weights` is (outputs, inputs, 3, 3); it is reordered into the primitive's own format. `threads`: as many as may
  // run at once. Throws Error (out_of_memory).
  std::unique_ptr<Convolution2d> pack(const float* weights, int threads) const;

  struct Implementation;

 private:
  explicit Convolution2dPlan(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

class Convolution2d {
 public:
  ~Convolution2d();

  // Runs in the calling thread. `bias` has one value per output. As many threads as pack() was told may run at once,
  // each with buffers of its own; a further one waits. Takes no memory; but oneDNN itself does whenever it runs, and
  // where it gets none this throws Error (out_of_memory).
  void execute(const float* source, const float* bias, float* destination, void* scratchpad) const;

  struct Implementation;

 private:
  friend class Convolution2dPlan;
  explicit Convolution2d(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace e2enet::kernels::onednn
