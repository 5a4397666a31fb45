import { ShapeError, expected } from "../../errors.js";
import { checkReal } from "../../ops/broadcast.js";
import { copyInto, pad as padValues } from "../../ops/copy.js";
import { Tensor, sameShape } from "../../tensor/index.js";
import { followViews } from "../context.js";
import { differentiable } from "../define.js";
import { zerosLike } from "../tensors.js";
import { sumTo } from "./reductions.js";

// Every one of these is linear: the tangent of the result is the same view of the tangent.

const reshaped = differentiable<[Tensor], undefined>("reshape", {
  vjp: ({ inputs: [x] }, g) => [reshape(g, x.shape)],
  jvp: ({ output }, [t]) => t && reshape(t, output.shape),
});

const permuted = differentiable<[Tensor], readonly number[]>("permute", {
  vjp: ({ attributes: order }, g) => [g.permute(order.map((_, axis) => order.indexOf(axis)))],
  jvp: ({ attributes: order }, [t]) => t?.permute(order),
});

const expanded = differentiable<[Tensor], undefined>("expand", {
  vjp: ({ inputs: [x] }, g) => [sumTo(g, x.shape)],
  jvp: ({ output }, [t]) => t?.expand(output.shape),
});

interface Range {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}

const sliced = differentiable<[Tensor], Range>("slice", {
  vjp: ({ inputs: [x], attributes: { axis, start, end } }, g) => [
    pad(g, axis, start, (x.shape[axis] ?? 0) - end),
  ],
  jvp: ({ attributes: { axis, start, end } }, [t]) => t?.slice(axis, start, end),
});

const converted = differentiable<[Tensor], undefined>("convert", {
  vjp: ({ inputs: [x] }, g) => [like(g, x)],
  jvp: ({ output }, [t]) => t && like(t, output),
});

/** The values of `t` in the dtype and on the device of `as`. */
function like(t: Tensor, as: Tensor): Tensor {
  if (t.device !== as.device) t = t.to(as.device);
  return t.dtype === as.dtype ? t : t.toDType(as.dtype);
}

const padded = differentiable<[Tensor], Range>("pad", {
  vjp: ({ attributes: { axis, start, end } }, g) => [g.slice(axis, start, end)],
  jvp: ({ output, attributes: { axis, start, end } }, [t]) =>
    t && pad(t, axis, start, (output.shape[axis] ?? 0) - end),
});

const joined = differentiable<readonly Tensor[], number>("concat", {
  vjp({ inputs, attributes: axis }, g, needed) {
    let start = 0;
    return inputs.map((input, i) => {
      const from = start;
      start += input.shape[axis] ?? 0;
      return needed[i] === true ? g.slice(axis, from, start) : undefined;
    });
  },
  jvp: ({ inputs, attributes: axis }, tangents) =>
    concat(
      inputs.map((input, i) => tangents[i] ?? zerosLike(input)),
      axis,
    ),
});

/** A view of all of x, which can be disposed on its own. */
export function alias(x: Tensor): Tensor {
  return x.permute(x.shape.map((_, axis) => axis));
}

/** x in another shape of as many elements (one may be -1): a view where x is contiguous, else a copy. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  return (x.isContiguous ? x : x.contiguous()).reshape(shape);
}

/** x with `before` and `after` zeros around it along an axis. */
export function pad(x: Tensor, axis: number, before: number, after: number): Tensor {
  const fn = "pad";
  checkReal(fn, "x", x);
  const y = padValues(fn, x, axis, before, after);
  const end = before + (x.shape[axis] ?? 0);
  return padded([x], y, { axis, start: before, end });
}

/** Tensors one after the other along an axis; their other dimensions are equal. */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  const fn = "concat";
  const first = tensors[0];
  checkReal(fn, "tensors[0]", first);
  const at = axis < 0 ? axis + first.rank : axis;
  const rest = (x: Tensor) => x.shape.filter((_, i) => i !== at);
  for (const [i, x] of tensors.entries()) {
    checkReal(fn, `tensors[${i}]`, x);
    if (at < 0 || at >= first.rank || !sameShape(rest(first), rest(x)))
      throw new ShapeError(
        expected(
          fn,
          `the dimensions of [${first.shape.join(", ")}] beside axis ${axis}`,
          `tensors[${i}]`,
          x.shape,
        ),
      );
  }
  const length = tensors.reduce((sum, x) => sum + (x.shape[at] ?? 0), 0);
  const y = Tensor.empty(
    first.shape.map((n, i) => (i === at ? length : n)),
    { dtype: first.dtype, device: first.device },
  );
  let start = 0;
  for (const x of tensors) {
    const end = start + (x.shape[at] ?? 0);
    const part = y.slice(at, start, end);
    copyInto(fn, x, part);
    part.dispose();
    start = end;
  }
  return joined(tensors, y, at);
}

followViews((derivation, from, to) => {
  switch (derivation.kind) {
    case "reshape":
      reshaped([from], to, undefined);
      break;
    case "permute":
      permuted([from], to, derivation.order);
      break;
    case "expand":
      expanded([from], to, undefined);
      break;
    case "slice":
      sliced([from], to, derivation);
      break;
    case "convert":
      converted([from], to, undefined);
      break;
  }
});
