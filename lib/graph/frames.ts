/**
 * Messages between this process and the one that runs onnxruntime, over a pipe: four bytes with the
 * length of a header (little-endian), the header as JSON, then `header.sizes` buffers of raw bytes.
 */
export interface FrameHeader {
  /** Bytes of each buffer that follows. */
  sizes: number[];
}

/* istanbul ignore next -- also runs from its source text in the other process, see session-child.ts */
/** Puts frames together from whatever pieces a pipe delivers. Uses nothing from outside its own body. */
export class FrameReader {
  readonly #onFrame: (header: FrameHeader, buffers: ArrayBuffer[]) => void;
  #target = new Uint8Array(4);
  #filled = 0;
  #stage: "length" | "header" | "buffers" = "length";
  #header: FrameHeader = { sizes: [] };
  #buffers: ArrayBuffer[] = [];

  constructor(onFrame: (header: FrameHeader, buffers: ArrayBuffer[]) => void) {
    this.#onFrame = onFrame;
  }

  /** Takes the next piece; it is copied, and the frames that it completes are handed over. */
  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length;) {
      const length = Math.min(chunk.length - at, this.#target.length - this.#filled);
      this.#target.set(chunk.subarray(at, at + length), this.#filled);
      this.#filled += length;
      at += length;
      while (this.#filled === this.#target.length) this.#next();
    }
  }

  /** What was expected is there: goes on to what follows it. */
  #next(): void {
    const { buffer } = this.#target;
    let size = 4;
    if (this.#stage === "length") {
      this.#stage = "header";
      size = new DataView(buffer).getUint32(0, true);
    } else {
      if (this.#stage === "header") {
        this.#header = JSON.parse(new TextDecoder().decode(this.#target)) as FrameHeader;
        this.#buffers = [];
        this.#stage = "buffers";
      } else {
        this.#buffers.push(buffer);
      }
      const following = this.#header.sizes[this.#buffers.length];
      if (following !== undefined) {
        size = following;
      } else {
        this.#stage = "length";
        const [header, buffers] = [this.#header, this.#buffers];
        this.#header = { sizes: [] };
        this.#buffers = [];
        this.#onFrame(header, buffers);
      }
    }
    this.#target = new Uint8Array(size);
    this.#filled = 0;
  }
}

/* istanbul ignore next -- also runs from its source text */
/**
 * The pieces of a frame, to be written in this order. The buffers are views, not copies: they must not
 * change until the other side has them. Uses nothing from outside its own body.
 */
export function frameParts(header: object, buffers: readonly Uint8Array[]): Uint8Array[] {
  const sizes = buffers.map((buffer) => buffer.byteLength);
  const json = new TextEncoder().encode(JSON.stringify({ ...header, sizes }));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, json.length, true);
  const parts: Uint8Array[] = [length, json];
  const most = 2 ** 28; // a single write cannot take more than 2 GiB
  for (const buffer of buffers) {
    for (let at = 0; at < buffer.length; at += most) parts.push(buffer.subarray(at, at + most));
  }
  return parts;
}
