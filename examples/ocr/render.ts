import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createCanvas, GlobalFonts } from "@napi-rs/canvas";
import { itemSeed, type Random, seeded } from "./random.js";

/** Height of every line in pixels: the recognizer was trained at 48. */
export const LINE_HEIGHT = 48;

/** Faces the lines are set in; file names of `dejavu-fonts-ttf`. */
export const FACES = [
  "DejaVuSans",
  "DejaVuSans-Bold",
  "DejaVuSans-Oblique",
  "DejaVuSansCondensed",
  "DejaVuSansMono",
  "DejaVuSerif",
  "DejaVuSerif-Bold",
  "DejaVuSerif-Italic",
  "DejaVuSerifCondensed",
] as const;

/** One drawn line: what the model sees, and the truth. */
export interface LineImage {
  readonly text: string;
  readonly face: string;
  readonly width: number;
  /** Pixels `[48, width, 3]`, RGB, for people. */
  readonly pixels: Uint8ClampedArray;
  /** `[1, 3, 48, width]` float32, BGR, `(x / 255 - 0.5) / 0.5`, for the model. */
  readonly data: Float32Array;
}

/** How bad the scan is. Each range is drawn from uniformly, a line at a time. */
export interface ScanQuality {
  /** Standard deviation of the Gaussian blur, pixels. */
  readonly blur: readonly [number, number];
  /** Standard deviation of the pixel noise, grey levels. */
  readonly noise: readonly [number, number];
  /** Difference between paper and ink, grey levels. */
  readonly contrast: readonly [number, number];
  /** Rotation either way, degrees. */
  readonly tilt: number;
}

/** A poor photocopy: the recognizer still reads it, with about one character in 170 wrong. */
export const POOR_SCAN: ScanQuality = {
  blur: [0.5, 1.2],
  noise: [10, 30],
  contrast: [105, 205],
  tilt: 0.7,
};

let fontsReady = false;
function registerFonts(): void {
  if (fontsReady) return;
  const root = dirname(createRequire(import.meta.url).resolve("dejavu-fonts-ttf/package.json"));
  for (const face of FACES) {
    const file = join(root, "ttf", `${face}.ttf`);
    if (GlobalFonts.registerFromPath(file, face) === null) {
      throw new Error(`render: expected a readable font at ${file}`);
    }
  }
  fontsReady = true;
}

/** Draws `text` as one noisy scanned line; the same text, seed and quality give the same pixels. */
export function drawLine(
  text: string,
  options: { seed: number; quality?: ScanQuality },
): LineImage {
  registerFonts();
  const quality = options.quality ?? POOR_SCAN;
  const random = seeded(options.seed);
  const face = FACES[random.index(FACES.length)]!;
  const size = random.between(26, 34);
  const font = `${size.toFixed(2)}px "${face}"`;

  const ruler = createCanvas(1, 1).getContext("2d");
  ruler.font = font;
  const margin = random.between(6, 14);
  // The network shrinks the width by 8; a multiple leaves no partial column.
  const width = Math.ceil((ruler.measureText(text).width + 2 * margin) / 8) * 8;

  const canvas = createCanvas(width, LINE_HEIGHT);
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, LINE_HEIGHT);
  context.translate(width / 2, LINE_HEIGHT / 2);
  context.rotate((random.between(-quality.tilt, quality.tilt) * Math.PI) / 180);
  context.fillStyle = "black";
  context.font = font;
  context.textBaseline = "middle";
  context.fillText(text, margin - width / 2, random.between(-2, 2));

  const rgba = context.getImageData(0, 0, width, LINE_HEIGHT).data;
  const ink = new Float32Array(width * LINE_HEIGHT);
  for (let i = 0; i < ink.length; i++) ink[i] = 1 - rgba[4 * i]! / 255;
  const blurred = gaussianBlur(ink, width, random.between(...quality.blur));
  return scan(text, face, blurred, width, quality, random);
}

/** Draws lines with one seed each, derived from `seed` and the place in the list. */
export function* drawLines(
  texts: readonly string[],
  options: { seed: number; first?: number; quality?: ScanQuality },
): Generator<LineImage> {
  for (let i = 0; i < texts.length; i++) {
    yield drawLine(texts[i]!, {
      ...options,
      seed: itemSeed(options.seed, (options.first ?? 0) + i),
    });
  }
}

/** Turns ink coverage `[48, width]` into tinted, noisy paper. */
function scan(
  text: string,
  face: string,
  ink: Float32Array,
  width: number,
  quality: ScanQuality,
  random: Random,
): LineImage {
  const paper = random.between(200, 250);
  const contrast = random.between(...quality.contrast);
  const noise = random.between(...quality.noise);
  const tint = [random.between(-8, 4), random.between(-6, 4), random.between(-12, 2)];
  const plane = width * LINE_HEIGHT;
  const pixels = new Uint8ClampedArray(plane * 3);
  const data = new Float32Array(plane * 3);
  for (let i = 0; i < plane; i++) {
    // Grain is mostly common to the three channels, as in a scan of grey paper.
    const grain = noise * random.normal();
    for (let c = 0; c < 3; c++) {
      const value = paper + tint[c]! - contrast * ink[i]! + grain + 0.3 * noise * random.normal();
      pixels[3 * i + c] = value;
      data[(2 - c) * plane + i] = (pixels[3 * i + c]! / 255 - 0.5) / 0.5;
    }
  }
  return { text, face, width, pixels, data };
}

/** Separable Gaussian blur of `[48, width]`, edges repeated. */
function gaussianBlur(image: Float32Array, width: number, sigma: number): Float32Array {
  const radius = Math.ceil(3 * sigma);
  const kernel = Float64Array.from({ length: 2 * radius + 1 }, (_, i) =>
    Math.exp(-((i - radius) ** 2) / (2 * sigma * sigma)),
  );
  const sum = kernel.reduce((a, b) => a + b, 0);
  const height = image.length / width;
  const pass = (from: Float32Array, length: number, step: number, lines: number, jump: number) => {
    const to = new Float32Array(from.length);
    for (let line = 0; line < lines; line++) {
      for (let i = 0; i < length; i++) {
        let value = 0;
        for (let k = -radius; k <= radius; k++) {
          const at = Math.min(length - 1, Math.max(0, i + k));
          value += kernel[k + radius]! * from[line * jump + at * step]!;
        }
        to[line * jump + i * step] = value / sum;
      }
    }
    return to;
  };
  return pass(pass(image, width, 1, height, width), height, width, width, 1);
}
