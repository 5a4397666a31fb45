/** Numbers of MKOR-H's rule that go on with a saved run. */
export interface SwitchState {
  readonly losses: number;
  readonly count: number;
  readonly previous: number | null;
  readonly rate: number | null;
  readonly reference: number;
  readonly slow: number;
  readonly windows: number;
  readonly dropped: boolean;
}

const smoothing = 0.9;
const slowBelow = 0.2;

/**
 * When MKOR-H gives up its factors: the relative decrease of the mean loss from window to window, smoothed, fell below a fifth
 * of the best of the first quarter of training in two windows one after the other. It never takes them up again.
 */
export class MkorSwitch {
  state: SwitchState = {
    losses: 0,
    count: 0,
    previous: null,
    rate: null,
    reference: 0,
    slow: 0,
    windows: 0,
    dropped: false,
  };

  /** @param window steps of a window. @param steps of the whole training. */
  constructor(
    private readonly window: number,
    private readonly steps: number,
  ) {}

  /** Takes the loss of a step; whether the factors are given up from now on. */
  add(loss: number): boolean {
    const { state } = this;
    if (state.dropped) return true;
    const [losses, count] = [state.losses + loss, state.count + 1];
    this.state = { ...state, losses, count };
    if (count === this.window) this.state = this.#ended(losses / count);
    return this.state.dropped;
  }

  #ended(mean: number): SwitchState {
    const { state } = this;
    const windows = state.windows + 1;
    const next = { ...state, losses: 0, count: 0, previous: mean, windows };
    if (state.previous === null) return next;
    const decrease = (state.previous - mean) / Math.max(Math.abs(state.previous), Number.MIN_VALUE);
    const rate =
      state.rate === null ? decrease : smoothing * state.rate + (1 - smoothing) * decrease;
    if (windows * this.window <= this.steps / 4)
      return { ...next, rate, reference: Math.max(state.reference, rate) };
    const slow = rate < slowBelow * state.reference ? state.slow + 1 : 0;
    return { ...next, rate, slow, dropped: slow >= 2 };
  }
}
