// The work of a patch as loops whose iterations threads share, and what each must wait for. No meeting lies between
// them: a loop begins when those are done that write what it reads, or use what it overwrites.
#pragma once

#include <vector>

namespace e2enet::plan {

class Plan;
struct BufferRequest;

// A norm's loop has an iteration for so many channels: each channel's slots are merged by one thread, in their order.
constexpr int kNormChannels = 16;

struct Loop {
  enum class Work {
    load,    // the patch into the input feature, a row an iteration
    upward,  // a group's rows of an upward flow
    bands,   // items of a group of bands
    norm,    // what a block's statistics make of its instance norm
    pool,    // rows of a downward flow
    head     // rows of logits
  };

  Work work = Work::load;
  int step = -1;  // in Plan::steps; -1 for load and head
  int group = 0;  // upward, bands: in ConvolutionStep::schedule
  // Upward, bands: the first of so many rows or bands. Iterations go through the first item of each of them, then the
  // second, so that a thread's share is a part of the width, the same one in loop after loop. Where these are all rows
  // or bands that the step has, iterations go through all items of the first, then of the second: a share is a part of
  // the height, which is one piece of memory and meets the next thread's in a row or two.
  int first = 0;
  int together = 1;
  int count = 0;
  bool by_rows = false;

  std::vector<int> after;  // earlier loops that must be done
  // Bands: loops of the same step of which an item waits for a part (Plan::awaited()): of the upward flow's, whose rows
  // it reads, and in place of the group's before, whose rows it overwrites.
  std::vector<int> beside;

  // Of an iteration.
  struct Place {
    int at = 0;  // the band or row
    int item = 0;
  };
  Place place(int iteration) const {
    if (!by_rows) return {first + iteration % together, iteration / together};
    const int items = count / together;
    return {first + iteration / items, iteration % items};
  }
};

// A part of a loop.
struct IterationRange {
  int begin = 0;
  int end = 0;
};

const char* name_of(Loop::Work work);

// In an order that keeps `after` and `beside` behind each loop. `buffers`: what Plan::buffer_offsets were given for.
std::vector<Loop> loops_of(const Plan& plan, const std::vector<BufferRequest>& buffers);

}  // namespace e2enet::plan
