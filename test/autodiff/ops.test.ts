import { gradcheck } from "../../lib/autodiff/index.js";
import { type Device, memoryStats } from "../../lib/binding/index.js";
import { scope, Tensor } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";
import {
  indices,
  at,
  plain,
  randomPlain,
  toTensor,
  valuesOf,
  type Plain,
} from "../helpers/plain.js";
import { autodiffKernels } from "../helpers/training-kernels.js";
import { elementwise } from "./rows/elementwise.js";
import { images, others } from "./rows/images.js";
import { products } from "./rows/products.js";
import { reductions, views } from "./rows/reductions.js";
import type { Row } from "./rows/row.js";
import { attentions, indexing, norms, sequences, softmaxes } from "./rows/rows.js";

const rows: Row[] = [
  ...elementwise,
  ...reductions,
  ...views,
  ...products,
  ...softmaxes,
  ...sequences,
  ...norms,
  ...indexing,
  ...attentions,
  ...images,
  ...others,
];

const list = <T>(x: T | T[]): T[] => (Array.isArray(x) ? x : [x]);

function inputsOf(row: Row): Plain[] {
  return row.shapes.map((shape, i) => randomPlain(shape, i + 1, row.domain));
}

/** A tensor with the values of x whose axes lie in memory in the opposite order, between others. */
function strided(x: Plain, device: Device): Tensor {
  const rank = x.shape.length;
  if (rank === 0) return toTensor(x, "float64", device);
  const turned = plain([...x.shape].reverse(), (index) => at(x, [...index].reverse()));
  const wide = plain([turned.shape[0]! + 2, ...turned.shape.slice(1)], (index) => {
    const row = index[0]! - 1;
    return row < 0 || row >= turned.shape[0]! ? NaN : at(turned, [row, ...index.slice(1)]);
  });
  const order = x.shape.map((_, axis) => rank - 1 - axis);
  return toTensor(wide, "float64", device)
    .slice(0, 1, turned.shape[0]! + 1)
    .permute(order);
}

function compare(received: Tensor | Tensor[], expected: Plain | Plain[], relative: number): void {
  const [ys, references] = [list(received), list(expected)];
  expect(ys.map((y) => y.shape)).toEqual(references.map((y) => y.shape));
  ys.forEach((y, i) => {
    const reference = references[i]!;
    const scale = reference.values.reduce((m, v) => Math.max(m, Math.abs(v)), 1);
    const values = valuesOf(y);
    for (const [flat, value] of reference.values.entries()) {
      if (!(Math.abs(values[flat]! - value) <= relative * scale))
        throw new Error(
          `result ${i} at [${indices(reference.shape)[flat]!.join(", ")}]: ${values[flat]} instead of ${value}`,
        );
    }
  });
}

eachDevice(
  "operations",
  (device) => {
    describe.each(rows.map((row) => ({ row, name: row.name })))("$name", ({ row }) => {
      const { ulps = 64 } = row;

      test("values in float64 and float32, and of strided views", () => {
        const inputs = inputsOf(row);
        scope(() => {
          compare(
            row.run(...inputs.map((x) => toTensor(x, "float64", device))),
            row.plain(...inputs),
            ulps * 2 ** -52,
          );
          const views = inputs.map((x) => strided(x, device));
          compare(row.run(...views), row.plain(...inputs), ulps * 2 ** -52);
          const narrow = inputs.map((x) => toTensor(x, "float32", device));
          const rounded = narrow.map((x): Plain => ({ shape: x.shape, values: valuesOf(x) }));
          compare(row.run(...narrow), row.plain(...rounded), ulps * 2 ** -23);
        });
      });

      test("first and second derivatives, and nothing is left over", () => {
        const inputs = inputsOf(row).map((x) => toTensor(x, "float64", device));
        const before = memoryStats({ device }).liveBlocks;
        const report = gradcheck(() => row.run(...inputs), inputs);
        expect(report.failures.slice(0, 5)).toEqual([]);
        expect(memoryStats({ device }).liveBlocks).toBeLessThanOrEqual(before);
        for (const x of inputs) x.dispose();
      });
    });
  },
  autodiffKernels,
);
