import { memoryStats } from "../../lib/binding/index.js";
import { Tensor, keep, scope, dtypes, newArray } from "../../lib/tensor/index.js";
import { settledMemory } from "../helpers/live-memory.js";

const twoByThree = () => Tensor.from(new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3]);

describe("making tensors", () => {
  test("from copies, borrow does not", () => {
    const array = new Float32Array([1, 2]);
    const copy = Tensor.from(array);
    const view = Tensor.from(array, [2, 1], { borrow: true });
    array[0] = 7;
    expect(Array.from(copy.dataSync())).toEqual([1, 2]);
    expect(Array.from(view.dataSync())).toEqual([7, 2]);
  });

  test("numbers become float32 or the dtype asked for", () => {
    expect(Tensor.from([1.5, 2.5]).dtype).toBe("float32");
    expect(Array.from(Tensor.from([1.7, -300], undefined, { dtype: "int8" }).dataSync())).toEqual([
      1, -128,
    ]);
  });

  test("subarrays, shared memory and empty tensors", () => {
    const whole = new Float32Array([0, 1, 2, 3]);
    expect(Array.from(Tensor.from(whole.subarray(1, 3)).dataSync())).toEqual([1, 2]);
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([5, 6]);
    expect(Array.from(Tensor.from(shared).dataSync())).toEqual([5, 6]);
    expect(Tensor.from(new Float32Array(0), [0, 3]).dataSync().length).toBe(0);
    expect(Array.from(Tensor.from(new Float32Array([9]), []).dataSync())).toEqual([9]);
  });

  test.each(dtypes.map((dtype) => [dtype]))("%s is stored as it is", async (dtype) => {
    const array = newArray(dtype, 3);
    array[1] = dtype === "int64" ? 1n : 1;
    const tensor = Tensor.from(array, [3], { dtype });
    expect(await tensor.data()).toEqual(array);
    expect(tensor.byteLength).toBe(array.byteLength);
  });

  test.each([
    [() => Tensor.from(new Float32Array(3), [2, 2]), "SHAPE", "[2, 2]"],
    [() => Tensor.from(new Uint16Array(2)), "DTYPE", "Uint16Array"],
    [() => Tensor.from(new Float32Array(1), [1], { dtype: "int32" as never }), "DTYPE", "int32"],
    [() => Tensor.from("abc" as never), "ARGUMENT", '"abc"'],
    [() => Tensor.empty([-1]), "SHAPE", "-1"],
    [() => Tensor.empty([1, 1, 1, 1, 1, 1, 1, 1, 1]), "SHAPE", "8 dimensions"],
    [() => Tensor.empty([2 ** 31]), "SHAPE", "2147483648"],
    [() => Tensor.empty([2 ** 30, 2 ** 30]), "SHAPE", "too many"],
    [() => Tensor.empty([2 ** 20, 2 ** 28]), "OUT_OF_MEMORY", "bytes"],
    [() => Tensor.empty([1], { device: "tpu" as never }), "DEVICE_UNAVAILABLE", "tpu"],
    [() => Tensor.empty([1], { dtype: "float8" as never }), "DTYPE", "float8"],
  ])("bad input %#", (make, code, part) => {
    expect(make).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(part) as string }),
    );
  });
});

describe("views", () => {
  test("transpose, slice and reshape share memory and know their strides", () => {
    const t = twoByThree();
    expect(Array.from(t.transpose().dataSync())).toEqual([1, 4, 2, 5, 3, 6]);
    expect(Array.from(t.slice(1, 1, 3).dataSync())).toEqual([2, 3, 5, 6]);
    expect(Array.from(t.transpose().slice(0, 1, 2).transpose().dataSync())).toEqual([2, 5]);
    expect(t.reshape([3, -1]).shape).toEqual([3, 2]);
    expect(() => t.transpose().reshape([6])).toThrow(/contiguous/);
    expect(() => t.reshape([4])).toThrow(expect.objectContaining({ code: "SHAPE" }));
    expect(() => t.slice(0, 1, 3)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
    expect(() => t.slice(2, 0, 1)).toThrow(expect.objectContaining({ code: "ARGUMENT" }));
  });

  test("a view outlives the tensor it was made from", () => {
    const t = twoByThree();
    const view = t.slice(0, 1, 2);
    t.dispose();
    expect(Array.from(view.dataSync())).toEqual([4, 5, 6]);
    expect(() => t.dataSync()).toThrow(expect.objectContaining({ code: "DISPOSED" }));
    expect(() => t.transpose()).toThrow(expect.objectContaining({ code: "DISPOSED" }));
    t.dispose();
  });
});

describe("memory", () => {
  test("a thousand tensors, views and conversions leave nothing behind", async () => {
    const before = await settledMemory();
    for (let i = 0; i < 1000; ++i) {
      const t = Tensor.zeros([100, 100]);
      const v = t.transpose();
      const h = v.toDType("float16");
      for (const one of [t, v, h]) one.dispose();
    }
    Tensor.zeros([1]).dataSync();
    const after = memoryStats();
    expect(after.liveBlocks - before.liveBlocks).toBeLessThanOrEqual(1);
  });

  test("scope frees all but what it returns or keeps; scopes nest; a throw frees everything", () => {
    const made: Tensor[] = [];
    const note = <T extends Tensor>(t: T) => (made.push(t), t);
    let kept: Tensor | undefined;
    const result = scope(() => {
      const a = note(twoByThree());
      const inner = scope(() => note(a.transpose()));
      kept = keep(note(twoByThree()));
      return { deep: [note(inner.contiguous())] };
    });
    expect(made.map((t) => t.disposed)).toEqual([true, true, false, false]);
    expect(kept?.disposed).toBe(false);
    expect(Array.from(result.deep[0]!.dataSync())).toEqual([1, 4, 2, 5, 3, 6]);
    let lost: Tensor | undefined;
    expect(() =>
      scope(() => {
        lost = twoByThree();
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(lost?.disposed).toBe(true);
  });

  test("Symbol.dispose", () => {
    const t = twoByThree();
    t[Symbol.dispose]();
    expect(t.disposed).toBe(true);
  });
});
