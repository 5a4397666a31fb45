import { Tensor, dtypes } from "../../lib/tensor/index.js";
import { eachDevice } from "../helpers/each-device.js";

eachDevice("fill", (device) => {
  test.each(dtypes.map((dtype) => [dtype]))("zeros of %s, also in memory used before", (dtype) => {
    for (const length of [0, 1, 1000, 600_001]) {
      const dirty = Tensor.empty([length], { dtype, device });
      dirty.dataSync();
      dirty.dispose();
      const zeros = Tensor.zeros([length], { dtype, device }).dataSync();
      expect(zeros.length).toBe(length);
      expect(zeros.every((x) => Number(x) === 0)).toBe(true);
    }
  });
});
