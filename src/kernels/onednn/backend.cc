#include "kernels/onednn/backend.h"

#include <omp.h>

#include <condition_variable>
#include <mutex>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "e2enet/error.h"

namespace e2enet::kernels::onednn {
namespace {

// oneDNN splits a primitive's work by the number of threads that OpenMP would start, when it is made and again when it
// runs. Here a primitive is the work of one thread.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

using Dims = dnnl::memory::dims;
using Layout = dnnl::memory::format_tag;
constexpr auto kFloat = dnnl::memory::data_type::f32;

// Version 3 has no operation descriptors: their arguments go to the primitive descriptor.
dnnl::convolution_forward::primitive_desc describe(const dnnl::engine& engine, const dnnl::memory::desc& source,
                                                   const dnnl::memory::desc& weights, const dnnl::memory::desc& bias,
                                                   const dnnl::memory::desc& destination, const Dims& strides,
                                                   const dnnl::primitive_attr& attributes) {
  const auto kind = dnnl::prop_kind::forward_inference;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const Dims no_padding{0, 0};
#if DNNL_VERSION_MAJOR >= 3
  return {engine, kind, algorithm, source, weights, bias, destination, strides, no_padding, no_padding, attributes};
#else
  return {{kind, algorithm, source, weights, bias, destination, strides, no_padding, no_padding}, attributes, engine};
#endif
}

// The arguments of one execution, made beforehand, since making them takes memory.
struct Context {
  dnnl::memory source, bias, destination, scratchpad;
  std::vector<dnnl_exec_arg_t> arguments;
};

}  // namespace

struct Convolution2dPlan::Implementation {
  Convolution2dShape shape;
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::convolution_forward::primitive_desc description;
};

struct Convolution2d::Implementation {
  dnnl::engine engine;
  dnnl::stream stream{engine};
  dnnl::convolution_forward::primitive_desc description;
  dnnl::convolution_forward primitive;
  dnnl::memory weights;

  Implementation(const dnnl::engine& of_plan, const dnnl::convolution_forward::primitive_desc& planned)
      : engine(of_plan), description(planned), primitive(planned) {}

  std::mutex mutex;
  std::condition_variable given_back;
  std::vector<std::unique_ptr<Context>> idle;  // never grows beyond what it was made with

  std::unique_ptr<Context> take() {
    std::unique_lock<std::mutex> lock(mutex);
    given_back.wait(lock, [&] { return !idle.empty(); });
    std::unique_ptr<Context> context = std::move(idle.back());
    idle.pop_back();
    return context;
  }

  std::unique_ptr<Context> new_context() const {
    auto context = std::make_unique<Context>();
    context->source = {description.src_desc(), engine, DNNL_MEMORY_NONE};
    context->bias = {description.bias_desc(), engine, DNNL_MEMORY_NONE};
    context->destination = {description.dst_desc(), engine, DNNL_MEMORY_NONE};
    context->scratchpad = {description.scratchpad_desc(), engine, DNNL_MEMORY_NONE};
    context->arguments = {{DNNL_ARG_SRC, context->source.get()},
                          {DNNL_ARG_WEIGHTS, weights.get()},
                          {DNNL_ARG_BIAS, context->bias.get()},
                          {DNNL_ARG_DST, context->destination.get()},
                          {DNNL_ARG_SCRATCHPAD, context->scratchpad.get()}};
    return context;
  }

  void give_back(std::unique_ptr<Context> context) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      idle.push_back(std::move(context));
    }
    given_back.notify_one();
  }
};

namespace {

// A context for one execution, given back however it ends.
class Taken {
 public:
  explicit Taken(Convolution2d::Implementation& owner) : owner_(owner), context_(owner.take()) {}
  ~Taken() { owner_.give_back(std::move(context_)); }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  Context* operator->() const { return context_.get(); }

 private:
  Convolution2d::Implementation& owner_;
  std::unique_ptr<Context> context_;
};

}  // namespace

Convolution2dPlan::Convolution2dPlan(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

Convolution2dPlan::~Convolution2dPlan() = default;

Convolution2d::Convolution2d(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

Convolution2d::~Convolution2d() = default;

namespace {

[[noreturn]] void fail(const Convolution2dShape& shape, const dnnl::error& error) {
  const bool memory = error.status == dnnl_out_of_memory;
  throw Error(memory ? ErrorCode::out_of_memory : ErrorCode::internal,
              std::string("oneDNN convolution of ") + std::to_string(shape.inputs) + " to " +
                  std::to_string(shape.outputs) + " channels: " + error.what());
}

}  // namespace

std::unique_ptr<Convolution2dPlan> Convolution2dPlan::make(const Convolution2dShape& shape) {
  const OneThread one_thread;
  try {
    auto made = std::make_unique<Implementation>();
    made->shape = shape;
    const int output_height = (shape.height - 3) / shape.stride_height + 1;
    const int output_width = (shape.width - 3) / shape.stride_width + 1;
    const dnnl::memory::desc source({shape.batch, shape.inputs, shape.height, shape.width}, kFloat, Layout::nhwc);
    const dnnl::memory::desc any_weights({shape.outputs, shape.inputs, 3, 3}, kFloat, Layout::any);
    const dnnl::memory::desc bias({shape.outputs}, kFloat, Layout::x);
    const dnnl::memory::desc destination({shape.batch, shape.outputs, output_height, output_width}, kFloat,
                                         Layout::nhwc);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    made->description = describe(made->engine, source, any_weights, bias, destination,
                                 {shape.stride_height, shape.stride_width}, attributes);
    return std::unique_ptr<Convolution2dPlan>(new Convolution2dPlan(std::move(made)));
  } catch (const dnnl::error& error) {
    if (error.status == dnnl_unimplemented) return nullptr;
    fail(shape, error);
  }
}

std::unique_ptr<Convolution2d> Convolution2dPlan::pack(const float* weights, int threads) const {
  const OneThread one_thread;
  const Convolution2dShape& shape = implementation_->shape;
  try {
    auto made = std::make_unique<Convolution2d::Implementation>(implementation_->engine, implementation_->description);
    const dnnl::memory::desc plain({shape.outputs, shape.inputs, 3, 3}, kFloat, Layout::oihw);
    dnnl::memory given(plain, made->engine, const_cast<float*>(weights));  // only read
    made->weights = dnnl::memory(made->description.weights_desc(), made->engine);
    dnnl::reorder(given, made->weights).execute(made->stream, given, made->weights);
    made->stream.wait();
    for (int thread = 0; thread < threads; ++thread) made->idle.push_back(made->new_context());
    return std::unique_ptr<Convolution2d>(new Convolution2d(std::move(made)));
  } catch (const dnnl::error& error) {
    fail(shape, error);
  }
}

std::size_t Convolution2dPlan::packed_bytes() const { return implementation_->description.weights_desc().get_size(); }

std::size_t Convolution2dPlan::scratchpad_bytes() const {
  return implementation_->description.scratchpad_desc().get_size();
}

std::string Convolution2dPlan::implementation() const { return implementation_->description.impl_info_str(); }

void Convolution2d::execute(const float* source, const float* bias, float* destination, void* scratchpad) const {
  const OneThread one_thread;
  const Taken context(*implementation_);
  context->source.set_data_handle(const_cast<float*>(source));  // only read
  context->bias.set_data_handle(const_cast<float*>(bias));
  context->destination.set_data_handle(destination);
  context->scratchpad.set_data_handle(scratchpad);
  const dnnl_status_t status =
      dnnl_primitive_execute(implementation_->primitive.get(), implementation_->stream.get(),
                             static_cast<int>(context->arguments.size()), context->arguments.data());
  if (status != dnnl_success) {
    throw Error(status == dnnl_out_of_memory ? ErrorCode::out_of_memory : ErrorCode::internal,
                "oneDNN failed to run a convolution, status " + std::to_string(static_cast<int>(status)));
  }
}

}  // namespace e2enet::kernels::onednn
