// The arguments of hutchinson_accumulate that could make it write out of bounds; on every device.
#pragma once
#include "../kernels.h"
#include "flat_check.h"

namespace osc {

inline Status check_hutchinson(const HutchinsonAccumulateArgs& args) {
  const NamedVector hv{"hv", args.hv};
  OSC_TRY(check_flat({hv}));
  const NamedVector others[] = {{"probe", args.probe}, {"mean", args.mean}, {"m2", args.m2}, {"ema", args.ema}};
  for (const NamedVector& a : others) {
    if (size_of(a.tensor) == 0) continue;
    OSC_TRY(check_flat({hv, a}));
    for (const NamedVector& b : others) {
      if (&a != &b && size_of(b.tensor) > 0) OSC_TRY(check_flat({a, b}));
    }
  }
  if (size_of(args.m2) > 0 && size_of(args.mean) == 0) return fail(OSC_ARGUMENT, 0, "m2 needs mean");
  if (args.kind < 0 || args.kind > 2) return fail(OSC_ARGUMENT, 0, "kind must be 0, 1 or 2");
  if (size_of(args.total) != 1 || args.total.dtype != OSC_FLOAT64) return fail(OSC_ARGUMENT, 0, "total must be one float64");
  return ok();
}

}  // namespace osc
