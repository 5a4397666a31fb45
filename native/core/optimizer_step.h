// The optimizers' formulas for one element, shared by the CPU's loops and the CUDA kernels. Each operation is rounded once
// (multiply-adds are written out, so no compiler contracts anything), which makes every device give the same bits; the
// exception is powf, for a Hessian power other than 0, 1/2 and 1.
//
// An element whose momentum is zero does not move, even where its denominator is zero too; with lr = 0 none does, so that
// theta keeps its bits. t counts steps from 1; EMAs are s <- beta s + (1 - beta) x.
#pragma once
#include <cmath>
#include <cstdint>

#include "host_device.h"

// Callers compile this for their own instruction set, so it must not survive as a function of its own.
#define OSC_ELEMENT OSC_HOST_DEVICE inline __attribute__((always_inline))

namespace osc {

struct Ema {
  float keep, take;
  explicit Ema(double beta) : keep(static_cast<float>(beta)), take(static_cast<float>(1 - beta)) {}
  OSC_ELEMENT float operator()(float average, float x) const { return fmaf(keep, average, take * x); }
  // Of x^2.
  OSC_ELEMENT float square(float average, float x) const { return fmaf(keep, average, take * x * x); }
};

// theta <- (1 - lr weight_decay) theta - rate direction: decoupled weight decay.
struct Move {
  float decay, rate;
  Move(double lr, double weight_decay, double rate_)
      : decay(static_cast<float>(1 - lr * weight_decay)), rate(static_cast<float>(rate_)) {}
  OSC_ELEMENT float operator()(float theta, float direction) const {
    const float moved = fmaf(-rate, direction, decay * theta);
    return rate == 0 ? theta : moved;
  }
};

inline double bias_correction(double beta, int64_t t) { return 1 - std::pow(beta, static_cast<double>(t)); }

// g <- g + weight_decay theta; b <- momentum b + g; theta <- theta - lr b, or with Nesterov theta - lr (g + momentum b).
struct SgdStep {
  float lr, momentum, weight_decay;
  bool nesterov;

  OSC_ELEMENT void operator()(float& theta, float g, float& buffer) const {
    const float full = fmaf(weight_decay, theta, g);
    buffer = fmaf(momentum, buffer, full);
    const float ahead = fmaf(momentum, buffer, full);
    const float moved = fmaf(-lr, nesterov ? ahead : buffer, theta);
    theta = lr == 0 ? theta : moved;
  }
};

// m <- EMA(m, g), v <- EMA(v, g^2), theta <- theta - lr (mhat / (sqrt(vhat) + eps) + weight_decay theta).
struct AdamwStep {
  Ema first, second;
  Move move;
  float root_scale, eps;

  AdamwStep(double lr, double beta1, double beta2, double eps_, double weight_decay, int64_t t)
      : first(beta1),
        second(beta2),
        move(lr, weight_decay, lr / bias_correction(beta1, t)),
        root_scale(static_cast<float>(1 / std::sqrt(bias_correction(beta2, t)))),
        eps(static_cast<float>(eps_)) {}

  OSC_ELEMENT void operator()(float& theta, float g, float& m, float& v) const {
    m = first(m, g);
    v = second.square(v, g);
    const float denominator = fmaf(sqrtf(v), root_scale, eps);
    theta = move(theta, m == 0 ? 0.0F : m / denominator);
  }
};

// m <- EMA(m, g), v <- EMA(v, d^2), theta <- theta - lr (mhat / max(sqrt(vhat)^power + eps, floor) + weight_decay theta), d the
// estimate of the Hessian's diagonal.
struct AdaHessianStep {
  Ema first, second;
  Move move;
  float root_scale, eps, floor, power;

  AdaHessianStep(double lr, double beta1, double beta2, double eps_, double weight_decay, double power_, double floor_,
                 int64_t t)
      : first(beta1),
        second(beta2),
        move(lr, weight_decay, lr / bias_correction(beta1, t)),
        root_scale(static_cast<float>(1 / std::sqrt(bias_correction(beta2, t)))),
        eps(static_cast<float>(eps_)),
        floor(static_cast<float>(floor_)),
        power(static_cast<float>(power_)) {}

  // Raise: one of those below, by the power.
  template <class Raise>
  OSC_ELEMENT void update(float& theta, float g, float d, float& m, float& v, Raise raise) const {
    m = first(m, g);
    v = second.square(v, d);
    const float sum = raise(sqrtf(v), root_scale, power, eps);
    const float denominator = sum < floor ? floor : sum;
    theta = move(theta, m == 0 ? 0.0F : m / denominator);
  }
};

// (root scale)^power + eps.
struct RaiseOne {
  OSC_ELEMENT float operator()(float root, float scale, float, float eps) const { return fmaf(root, scale, eps); }
};
struct RaiseHalf {
  OSC_ELEMENT float operator()(float root, float scale, float, float eps) const { return sqrtf(root * scale) + eps; }
};
struct RaiseAny {  // 0^0 = 1
  OSC_ELEMENT float operator()(float root, float scale, float power, float eps) const {
    return powf(root * scale, power) + eps;
  }
};

// m <- EMA(m, g), theta <- (1 - lr weight_decay) theta - lr sign(m) min(1, |m| / denominator), where the denominator is
// scale h + 1e-15 (Gauss-Newton-Bartlett, scale = rho * batch) or max(scale h, 1e-12) (Hutchinson, scale = rho).
struct SophiaStep {
  Ema first;
  Move move;
  float scale;
  bool hutchinson;

  SophiaStep(double lr, double beta1, double weight_decay, double scale_, bool hutchinson_)
      : first(beta1), move(lr, weight_decay, lr), scale(static_cast<float>(scale_)), hutchinson(hutchinson_) {}

  // Whether the element was clipped: it moves by the whole of lr.
  OSC_ELEMENT bool operator()(float& theta, float g, float& m, float h) const {
    m = first(m, g);
    const float scaled = scale * h, size = fabsf(m);
    const float floored = scaled < 1e-12F ? 1e-12F : scaled;
    const float denominator = hutchinson ? floored : fmaf(scale, h, 1e-15F);
    const bool clipped = size >= denominator;
    const float ratio = clipped ? 1.0F : size / denominator;
    theta = move(theta, m == 0 ? 0.0F : copysignf(ratio, m));
    return clipped;
  }
};

// v <- EMA(v, g^2), lag <- lag + offset lr weight_decay theta, move = -(lr / beta) lag - lr beta g / (sqrt(vhat) + eps),
// theta <- (1 - lr weight_decay) theta + move, lag <- (1 - lr / beta) lag - offset move, where offset = 1 - alpha beta. The
// published form keeps psi = lag + offset theta; its theta is a difference of nearly equal terms, this one is not.
struct InnapropStep {
  Ema second;
  float decay, pull, push, keep, offset, catch_up, root_scale, eps;

  InnapropStep(double lr, double alpha, double beta, double sigma, double eps_, double weight_decay, int64_t t)
      : second(sigma),
        decay(static_cast<float>(1 - lr * weight_decay)),
        pull(static_cast<float>(lr / beta)),
        push(static_cast<float>(lr * beta)),
        keep(static_cast<float>(1 - lr / beta)),
        offset(static_cast<float>(1 - alpha * beta)),
        catch_up(static_cast<float>((1 - alpha * beta) * lr * weight_decay)),
        root_scale(static_cast<float>(1 / std::sqrt(bias_correction(sigma, t)))),
        eps(static_cast<float>(eps_)) {}

  OSC_ELEMENT void operator()(float& theta, float g, float& lag, float& v) const {
    v = second.square(v, g);
    const float denominator = fmaf(sqrtf(v), root_scale, eps);
    const float direction = g == 0 ? 0.0F : g / denominator;
    const float behind = fmaf(catch_up, theta, lag);
    const float move = fmaf(-push, direction, -(pull * behind));
    const float moved = fmaf(decay, theta, move);
    theta = push == 0 ? theta : moved;
    lag = fmaf(-offset, move, keep * behind);
  }
};

// curvature <- EMA(curvature, d), m <- EMA(m, g), theta <- (1 - lr weight_decay) theta - lr mhat / max(|curvature|, alpha).
struct OasisStep {
  Ema first, second;
  Move move;
  float alpha;

  OasisStep(double lr, double beta1, double beta2, double alpha_, double weight_decay, int64_t t)
      : first(beta1),
        second(beta2),
        move(lr, weight_decay, lr / bias_correction(beta1, t)),
        alpha(static_cast<float>(alpha_)) {}

  OSC_ELEMENT void along(float& theta, float direction, float d, float& curvature) const {
    curvature = second(curvature, d);
    const float size = fabsf(curvature);
    theta = move(theta, direction / (size < alpha ? alpha : size));
  }
  OSC_ELEMENT void operator()(float& theta, float g, float d, float& m, float& curvature) const {
    m = first(m, g);
    along(theta, m, d, curvature);
  }
};

// m <- EMA(m, g), theta <- (1 - lr weight_decay) theta - lr mhat / (s h + damping); with l2 weight_decay theta is added to g
// instead. s and h: the diagonals of the two factors of a layer's Fisher matrix, at the element's row and column.
struct AdafisherStep {
  Ema first;
  Move move;
  float l2, damping;

  AdafisherStep(double lr, double beta, double damping_, double weight_decay, bool l2_, int64_t t)
      : first(beta),
        move(lr, l2_ ? 0 : weight_decay, lr / bias_correction(beta, t)),
        l2(static_cast<float>(l2_ ? weight_decay : 0)),
        damping(static_cast<float>(damping_)) {}

  OSC_ELEMENT float momentum(float theta, float g, float m) const { return first(m, fmaf(l2, theta, g)); }
  OSC_ELEMENT void operator()(float& theta, float g, float& m, float s, float h) const {
    m = momentum(theta, g, m);
    theta = move(theta, m == 0 ? 0.0F : m / fmaf(s, h, damping));
  }
  // A parameter without factors.
  OSC_ELEMENT void operator()(float& theta, float g, float& m) const {
    m = momentum(theta, g, m);
    theta = move(theta, m);
  }
};

}  // namespace osc
