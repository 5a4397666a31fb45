/** Where a reading differs from the truth, for showing. */

/** A run of characters read rightly, read wrongly (or made up), or left out. */
export interface Segment {
  readonly kind: "same" | "wrong" | "missing";
  /** What was read; for "missing", what should have been. */
  readonly text: string;
}

/** Aligns a reading with the truth by edit distance; neighbours of one kind are one segment. */
export function align(truth: string, reading: string): Segment[] {
  const want = Array.from(truth);
  const got = Array.from(reading);
  const cost: number[][] = [Array.from({ length: got.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= want.length; i++) {
    const above = cost[i - 1]!;
    const row = [i];
    for (let j = 1; j <= got.length; j++) {
      const pair = above[j - 1]! + (want[i - 1] === got[j - 1] ? 0 : 1);
      row.push(Math.min(pair, above[j]! + 1, row[j - 1]! + 1));
    }
    cost.push(row);
  }
  const segments: Segment[] = [];
  const put = (kind: Segment["kind"], text: string): void => {
    const [first] = segments;
    if (first?.kind === kind) segments[0] = { kind, text: text + first.text };
    else segments.unshift({ kind, text });
  };
  let i = want.length;
  let j = got.length;
  while (i > 0 || j > 0) {
    const here = cost[i]![j]!;
    const same = i > 0 && j > 0 && want[i - 1] === got[j - 1];
    if (i > 0 && j > 0 && here === cost[i - 1]![j - 1]! + (same ? 0 : 1)) {
      put(same ? "same" : "wrong", got[--j]!);
      i -= 1;
    } else if (j > 0 && here === cost[i]![j - 1]! + 1) {
      put("wrong", got[--j]!);
    } else {
      put("missing", want[--i]!);
    }
  }
  return segments;
}
