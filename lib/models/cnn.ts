import { add, globalAvgPool2d, relu } from "../autodiff/index.js";
import { checkInteger } from "../ops/check.js";
import { BatchNorm, Conv2d, init, Linear, Module, type ParameterOptions } from "../nn/index.js";
import { scope, type Tensor } from "../tensor/index.js";

/** Two 3 x 3 convolutions around which the input is added, through a 1 x 1 convolution where the shape changes. */
class ResidualBlock extends Module {
  readonly first: Conv2d;
  readonly firstNorm: BatchNorm;
  readonly second: Conv2d;
  readonly secondNorm: BatchNorm;
  readonly shortcut: Conv2d | undefined;
  readonly shortcutNorm: BatchNorm | undefined;

  constructor(channels: number, outputs: number, stride: number, options: ParameterOptions) {
    super();
    const conv = { ...options, bias: false, init: init.kaimingNormal };
    this.first = new Conv2d(channels, outputs, 3, { ...conv, stride, padding: 1 });
    this.firstNorm = new BatchNorm(outputs, options);
    this.second = new Conv2d(outputs, outputs, 3, { ...conv, padding: 1 });
    this.secondNorm = new BatchNorm(outputs, options);
    if (stride !== 1 || channels !== outputs) {
      this.shortcut = new Conv2d(channels, outputs, 1, { ...conv, stride });
      this.shortcutNorm = new BatchNorm(outputs, options);
    }
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const hidden = relu(this.firstNorm.forward(this.first.forward(x)));
      const y = this.secondNorm.forward(this.second.forward(hidden));
      const skipped =
        this.shortcut === undefined || this.shortcutNorm === undefined
          ? x
          : this.shortcutNorm.forward(this.shortcut.forward(x));
      return relu(add(y, skipped));
    });
  }
}

export interface CNNOptions extends ParameterOptions {
  /** Channels of the images, default 3. */
  readonly channels?: number | undefined;
  /** Default 10. */
  readonly classes?: number | undefined;
  /** Channels of the first of three stages; the others have 2 and 4 times as many. Default 16. */
  readonly width?: number | undefined;
  /** Blocks of each stage, default 3: 20 layers. */
  readonly blocks?: number | undefined;
}

/**
 * A residual network for small images: `[batch, channels, height, width]` to logits `[batch, classes]`. With the defaults
 * ResNet-20, but for 1 x 1 convolutions where the shape changes. He et al., 2016, section 4.2.
 */
export class CNN extends Module {
  readonly stem: Conv2d;
  readonly stemNorm: BatchNorm;
  readonly blocks: readonly ResidualBlock[];
  readonly output: Linear;

  constructor(options: CNNOptions = {}) {
    super();
    const { channels = 3, classes = 10, width = 16, blocks = 3 } = options;
    checkInteger("cnn", "blocks", blocks, 1, 1000);
    const conv = { ...options, bias: false, init: init.kaimingNormal };
    this.stem = new Conv2d(channels, width, 3, { ...conv, padding: 1 });
    this.stemNorm = new BatchNorm(width, options);
    this.blocks = [0, 1, 2].flatMap((stage) =>
      Array.from({ length: blocks }, (_, i) => {
        const outputs = width * 2 ** stage;
        const enters = i === 0 && stage > 0;
        return new ResidualBlock(enters ? outputs / 2 : outputs, outputs, enters ? 2 : 1, options);
      }),
    );
    this.output = new Linear(4 * width, classes, options);
  }

  forward(x: Tensor): Tensor {
    return scope(() => {
      const stem = relu(this.stemNorm.forward(this.stem.forward(x)));
      const features = this.blocks.reduce((y, block) => block.forward(y), stem);
      return this.output.forward(globalAvgPool2d(features));
    });
  }
}

/** @example cnn({ channels: 1 }) // for Fashion-MNIST */
export function cnn(options: CNNOptions = {}): CNN {
  return new CNN(options);
}
