// Connectionist temporal classification (Graves et al. 2006): the probability that a path of classes over time, with blanks
// and repeats taken out, is a target. One sequence at a time, by a team: one thread of the CPU, or a block of a GPU.
#pragma once
#include <cmath>
#include <initializer_list>

#include "../core/host_device.h"
#include "../core/status.h"
#include "../core/tensor.h"
#include "strided.h"

namespace osc {

// Why a sequence has no loss.
enum CtcProblem : int32_t { kCtcFine, kCtcSteps, kCtcLabels, kCtcClass, kCtcShort };

// One target: its labels with a blank before, between and after them are the states of the paths.
struct CtcTarget {
  const int32_t* labels;
  int64_t steps, count, classes;
  int32_t blank;

  OSC_HOST_DEVICE int64_t states() const { return 2 * count + 1; }
  OSC_HOST_DEVICE int32_t label(int64_t state) const { return state % 2 == 0 ? blank : labels[state / 2]; }
  // A path may come to this state from two before: over a blank between different labels.
  OSC_HOST_DEVICE bool skips(int64_t state) const {
    return state % 2 == 1 && state > 1 && labels[state / 2] != labels[state / 2 - 1];
  }
  OSC_HOST_DEVICE CtcProblem problem(int64_t most_steps, int64_t most_labels) const {
    if (steps < 0 || steps > most_steps) return kCtcSteps;
    if (count < 0 || count > most_labels) return kCtcLabels;
    int64_t needed = count;
    for (int64_t i = 0; i < count; ++i) {
      if (labels[i] < 0 || labels[i] >= classes || labels[i] == blank) return kCtcClass;
      needed += i > 0 && labels[i] == labels[i - 1];
    }
    return needed > steps ? kCtcShort : kCtcFine;
  }
};

// A batch as the kernels get it: targets [sequences, most_labels], lengths [sequences].
struct CtcBatch {
  int64_t sequences, most_steps, classes, most_labels;
  const int32_t *target, *input_length, *target_length;
  int32_t blank;

  OSC_HOST_DEVICE CtcTarget sequence(int64_t n) const {
    return {target + n * most_labels, input_length[n], target_length[n], classes, blank};
  }
  OSC_HOST_DEVICE int64_t most_states() const { return 2 * most_labels + 1; }
};

// A probability as its logarithm, and the same with its derivative along a direction.
struct CtcLog {
  double value;
  OSC_HOST_DEVICE static CtcLog of(double log) { return {log}; }
  OSC_HOST_DEVICE CtcLog operator*(CtcLog other) const { return {value + other.value}; }
  // The share of the paths in all paths.
  OSC_HOST_DEVICE double in(CtcLog all) const { return std::exp(value - all.value); }
};

struct CtcMovingLog {
  double value, change;
  OSC_HOST_DEVICE static CtcMovingLog of(double log) { return {log, 0}; }
  OSC_HOST_DEVICE CtcMovingLog operator*(CtcMovingLog other) const { return {value + other.value, change + other.change}; }
  // The change of that share.
  OSC_HOST_DEVICE double in(CtcMovingLog all) const { return std::exp(value - all.value) * (change - all.change); }
};

OSC_HOST_DEVICE inline double ctc_log_sum(double a, double b, double c) {
  const double most = std::fmax(a, std::fmax(b, c));
  if (!(most > -INFINITY)) return a + b + c;  // all impossible, or NaN
  return most + std::log(std::exp(a - most) + std::exp(b - most) + std::exp(c - most));
}

OSC_HOST_DEVICE inline CtcLog ctc_sum(CtcLog a, CtcLog b, CtcLog c) { return {ctc_log_sum(a.value, b.value, c.value)}; }

OSC_HOST_DEVICE inline CtcMovingLog ctc_sum(CtcMovingLog a, CtcMovingLog b, CtcMovingLog c) {
  const double sum = ctc_log_sum(a.value, b.value, c.value);
  double change = 0;
  for (const CtcMovingLog& term : {a, b, c}) {
    if (term.value != -INFINITY) change += std::exp(term.value - sum) * term.change;
  }
  return {sum, change};
}

// The log-probabilities of a sequence [steps, classes], and the direction in which they move.
template <class E>
struct CtcValues {
  using Log = CtcLog;
  const E* x;
  OSC_HOST_DEVICE CtcValues from(int64_t first) const { return {x + first}; }
  OSC_HOST_DEVICE Log at(int64_t i) const { return {static_cast<double>(x[i])}; }
};

template <class E>
struct CtcMovingValues {
  using Log = CtcMovingLog;
  const E *x, *v;
  OSC_HOST_DEVICE CtcMovingValues from(int64_t first) const { return {x + first, v + first}; }
  OSC_HOST_DEVICE Log at(int64_t i) const { return {static_cast<double>(x[i]), static_cast<double>(v[i])}; }
};

// Workspace of one sequence.
template <class Log>
struct CtcWorkspace {
  Log* forward;      // [steps, states]
  Log* backward;     // [2, states]
  double* share;     // [states]
  int32_t* next;     // [states]: the next state of the same label, or -1
  int32_t* is_first; // [states]: no state before has this label

  OSC_HOST_DEVICE static int64_t bytes(int64_t steps, int64_t states) {
    return (steps + 2) * states * static_cast<int64_t>(sizeof(Log)) + states * 16;
  }
  OSC_HOST_DEVICE static CtcWorkspace in(void* memory, int64_t steps, int64_t states) {
    Log* forward = static_cast<Log*>(memory);
    Log* backward = forward + steps * states;
    double* share = reinterpret_cast<double*>(backward + 2 * states);
    int32_t* next = reinterpret_cast<int32_t*>(share + states);
    return {forward, backward, share, next, next + states};
  }
};

// Writes minus the share of each class at each step (with CtcMovingValues: its change) to y [most_steps, classes], 0 after
// the sequence's own steps, and returns the log-probability of the target. A member of the team calls it with its own `team`:
// team.each(n, f) spreads f(0..n-1) over the members, and all have done when it returns.
template <class E, class Values, class Team>
OSC_HOST_DEVICE typename Values::Log ctc_sequence(const CtcTarget& target, const Values& x, int64_t most_steps, E* y,
                                                  const CtcWorkspace<typename Values::Log>& work, const Team& team) {
  using Log = typename Values::Log;
  const int64_t states = target.states(), steps = target.steps, classes = target.classes;
  const Log impossible = Log::of(-INFINITY), certain = Log::of(0);
  team.each(states, [&](int64_t s) {
    work.next[s] = -1;
    work.is_first[s] = 1;
    for (int64_t other = s + 1; other < states && work.next[s] < 0; ++other) {
      if (target.label(other) == target.label(s)) work.next[s] = static_cast<int32_t>(other);
    }
    for (int64_t other = 0; other < s && work.is_first[s]; ++other) work.is_first[s] = target.label(other) != target.label(s);
  });
  for (int64_t t = 0; t < steps; ++t) {
    Log* now = work.forward + t * states;
    const Log* before = now - states;
    team.each(states, [&](int64_t s) {
      const Log here = x.at(t * classes + target.label(s));
      if (t == 0) now[s] = s < 2 ? here : impossible;
      else now[s] = ctc_sum(before[s], s > 0 ? before[s - 1] : impossible, target.skips(s) ? before[s - 2] : impossible) * here;
    });
  }
  const Log* last = work.forward + (steps - 1) * states;
  const Log all = steps == 0 ? certain : ctc_sum(last[states - 1], states > 1 ? last[states - 2] : impossible, impossible);
  for (int64_t t = steps - 1; t >= 0; --t) {
    Log* now = work.backward + t % 2 * states;
    const Log* after = work.backward + (t + 1) % 2 * states;
    const auto through = [&](int64_t s) { return after[s] * x.at((t + 1) * classes + target.label(s)); };
    E* row = y + t * classes;
    team.each(classes, [&](int64_t c) { row[c] = E(0); });
    team.each(states, [&](int64_t s) {
      if (t == steps - 1) now[s] = s + 2 >= states ? certain : impossible;
      else now[s] = ctc_sum(through(s), s + 1 < states ? through(s + 1) : impossible, s + 2 < states && target.skips(s + 2) ? through(s + 2) : impossible);
      const Log both = work.forward[t * states + s] * now[s];
      work.share[s] = both.value == -INFINITY ? 0 : both.in(all);
    });
    team.each(states, [&](int64_t s) {
      if (!work.is_first[s]) return;
      double sum = 0;
      for (int64_t one = s; one >= 0; one = work.next[one]) sum += work.share[one];
      row[target.label(s)] = static_cast<E>(-sum);
    });
  }
  team.each((most_steps - steps) * classes, [&](int64_t i) { y[steps * classes + i] = E(0); });
  return all;
}

// The batch that the arguments of a kernel describe; `tensors` are to have the shape and dtype of x.
template <class Args>
Status check_ctc(const Args& args, std::initializer_list<const Tensor*> tensors, CtcBatch* batch) {
  const Tensor &x = args.x, &target = args.target;
  const int64_t n = x.rank == 3 ? x.shape[0] : -1;
  const auto lengths = [n](const Tensor& t) { return t.rank == 1 && t.dtype == OSC_INT32 && t.shape[0] == n && is_contiguous(t); };
  if (n < 0 || target.rank != 2 || target.dtype != OSC_INT32 || target.shape[0] != n || !is_contiguous(target) ||
      !lengths(args.input_length) || !lengths(args.target_length)) {
    return fail(OSC_ARGUMENT, 0, "x must be [sequences, steps, classes], target int32 [sequences, labels], lengths int32 [sequences]");
  }
  for (const Tensor* t : tensors) {
    if (!same_shape(*t, x) || t->dtype != x.dtype || !is_real(*t) || !is_contiguous(*t)) {
      return fail(OSC_ARGUMENT, 0, "tensors of the shape of x must be contiguous, of one real dtype");
    }
  }
  if (args.blank < 0 || args.blank >= x.shape[2]) return fail(OSC_ARGUMENT, 0, "blank must be a class");
  *batch = {n, x.shape[1], x.shape[2], target.shape[1], data<int32_t>(target), data<int32_t>(args.input_length),
            data<int32_t>(args.target_length), static_cast<int32_t>(args.blank)};
  return ok();
}

inline Status ctc_failure(CtcProblem problem, int64_t n) {
  static const char* const kWhy[] = {"", "its length is not from 0 to the number of steps",
                                     "the length of its target is not from 0 to the number of labels given",
                                     "its target has a label that is the blank or no class",
                                     "it has fewer steps than its target needs (one a label, and one between equal labels)"};
  return fail(OSC_ARGUMENT, n, "sequence %lld: %s", static_cast<long long>(n), kWhy[problem]);
}

}  // namespace osc
