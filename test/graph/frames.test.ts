import fc from "fast-check";
import { frameParts, FrameReader, type FrameHeader } from "../../lib/graph/frames.js";

interface Frame {
  header: FrameHeader & { note?: string };
  buffers: number[][];
}

/** Reads frames from a stream that is cut into pieces of these lengths, over and over. */
function readInPieces(stream: Uint8Array, lengths: readonly number[]): Frame[] {
  const frames: Frame[] = [];
  const reader = new FrameReader((header, buffers) => {
    frames.push({ header, buffers: buffers.map((buffer) => [...new Uint8Array(buffer)]) });
  });
  for (let at = 0, i = 0; at < stream.length; i++) {
    const end = at + lengths[i % lengths.length]!;
    reader.push(stream.subarray(at, end));
    at = end;
  }
  return frames;
}

const bytes = fc.uint8Array({ maxLength: 40 });
const frame = fc.record({ note: fc.string({ unit: "grapheme" }), buffers: fc.array(bytes) });

test("frames survive any cutting, empty buffers and no buffers included", () => {
  fc.assert(
    fc.property(
      fc.array(frame),
      fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
      (frames, lengths) => {
        const parts = frames.flatMap(({ note, buffers }) => frameParts({ note }, buffers));
        const expected = frames.map(({ note, buffers }) => ({
          header: { note, sizes: buffers.map((buffer) => buffer.length) },
          buffers: buffers.map((buffer) => [...buffer]),
        }));
        expect(readInPieces(Buffer.concat(parts), lengths)).toEqual(expected);
      },
    ),
  );
});

test("buffers are sent as views, without a copy", () => {
  const buffer = Uint8Array.of(1, 2, 3);
  const [, , sent] = frameParts({}, [buffer]);
  expect(sent!.buffer).toBe(buffer.buffer);
});
