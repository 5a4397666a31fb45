import { add, concat, linear, mul, reshape, sigmoid, tanh } from "../autodiff/index.js";
import { ShapeError, expected } from "../errors.js";
import { checkInteger } from "../ops/check.js";
import { scope, Tensor } from "../tensor/index.js";
import { uniform, type ParameterOptions } from "./init.js";
import { Module } from "./module.js";

export interface LSTMState {
  /** `[batch, hidden]` */
  readonly h: Tensor;
  /** `[batch, hidden]` */
  readonly c: Tensor;
}

/**
 * A recurrent layer: i, f, o = sigmoid, g = tanh of `x W^T + h U^T + b`; `c = f c + i g`, `h = o tanh(c)`. Rows of W, U and b
 * lie in the order i, f, g, o. Hochreiter, Schmidhuber, 1997, with forget gates.
 */
export class LSTM extends Module {
  /** `[4 hidden, inputs]` */
  readonly inputWeight: Tensor;
  /** `[4 hidden, hidden]` */
  readonly hiddenWeight: Tensor;
  /** `[4 hidden]` */
  readonly bias: Tensor;
  readonly hidden: number;

  constructor(inputs: number, hidden: number, options: ParameterOptions = {}) {
    super();
    checkInteger("LSTM", "inputs", inputs, 1, 2 ** 31 - 1);
    checkInteger("LSTM", "hidden", hidden, 1, 2 ** 29 - 1);
    const init = uniform(1 / Math.sqrt(hidden));
    this.hidden = hidden;
    this.inputWeight = init([4 * hidden, inputs], options);
    this.hiddenWeight = init([4 * hidden, hidden], options);
    this.bias = init([4 * hidden], options);
  }

  /** One step: x `[batch, inputs]`. */
  step(x: Tensor, state: LSTMState): LSTMState {
    return scope(() => this.#advance(linear(x, this.inputWeight, this.bias), state));
  }

  /**
   * A whole sequence x `[batch, steps, inputs]`.
   *
   * @param state before the first step, default zeros.
   * @returns h of every step, `[batch, steps, hidden]`, and the last state.
   */
  forward(x: Tensor, state?: LSTMState): { readonly outputs: Tensor; readonly state: LSTMState } {
    const [batch = 0, steps = 0] = x.shape;
    if (x.rank !== 3 || steps === 0)
      throw new ShapeError(
        expected("LSTM", "shape [batch, steps, inputs] with steps > 0", "x", x.shape),
      );
    return scope(() => {
      const zero = () => Tensor.zeros([batch, this.hidden], { dtype: x.dtype, device: x.device });
      let now = state ?? { h: zero(), c: zero() };
      // The part of all steps that does not wait for the one before: one product.
      const inputs = linear(x, this.inputWeight, this.bias);
      const outputs: Tensor[] = [];
      for (let t = 0; t < steps; ++t) {
        now = this.#advance(reshape(inputs.slice(1, t, t + 1), [batch, 4 * this.hidden]), now);
        outputs.push(reshape(now.h, [batch, 1, this.hidden]));
      }
      return { outputs: concat(outputs, 1), state: now };
    });
  }

  #advance(inputs: Tensor, { h, c }: LSTMState): LSTMState {
    const gates = add(inputs, linear(h, this.hiddenWeight));
    const part = (k: number) => gates.slice(1, k * this.hidden, (k + 1) * this.hidden);
    const cell = add(mul(sigmoid(part(1)), c), mul(sigmoid(part(0)), tanh(part(2))));
    return { h: mul(sigmoid(part(3)), tanh(cell)), c: cell };
  }
}
