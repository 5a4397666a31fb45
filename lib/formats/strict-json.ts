/**
 * A strict JSON reader for headers of untrusted files. Beside `JSON.parse` it refuses duplicate keys and
 * deep nesting, keeps objects as Maps (a key named `__proto__` is just a key), and keeps integers exact.
 */

export type StrictJson =
  | null
  | boolean
  | string
  | number // has a fraction, an exponent, or more digits than u64 has
  | bigint // an integer literal of up to 20 digits
  | StrictJson[]
  | Map<string, StrictJson>;

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const INTEGER = /^(?:0|-?[1-9]\d{0,19})$/;
const LITERALS = new Map<string, null | boolean>([
  ["true", true],
  ["false", false],
  ["null", null],
]);

/**
 * Parses one JSON text.
 *
 * @param options.maxDepth nested arrays and objects allowed, default 8.
 * @param options.maxKeys keys of one object allowed, default 10 million.
 * @throws SyntaxError for anything that is not JSON, a duplicate key, a lone surrogate, or a limit.
 */
export function parseStrictJson(
  text: string,
  options: { maxDepth?: number; maxKeys?: number } = {},
): StrictJson {
  const { maxDepth = 8, maxKeys = 10_000_000 } = options;
  let at = 0;

  function fail(what: string): never {
    throw new SyntaxError(`${what} at character ${at} of the JSON text`);
  }
  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  }
  function skip(symbol: string): boolean {
    match(SPACE);
    if (text[at] !== symbol) return false;
    at += 1;
    return true;
  }
  function string(): string {
    const start = at;
    if (text[at] !== '"') fail("expected a string");
    // A loop, not a pattern: a pattern with escapes runs out of stack on a long hostile string.
    do {
      at += text[at] === "\\" ? 2 : 1;
      if (at >= text.length) fail("unterminated string");
    } while (text[at] !== '"');
    at += 1;
    let value: unknown;
    try {
      value = JSON.parse(text.slice(start, at)); // checks escapes and control characters
    } catch {
      fail("bad string");
    }
    if (typeof value !== "string" || /\p{Surrogate}/u.test(value)) fail("lone surrogate");
    return value;
  }
  function array(depth: number): StrictJson[] {
    const items: StrictJson[] = [];
    if (skip("]")) return items;
    do items.push(value(depth));
    while (skip(","));
    if (!skip("]")) fail("expected ',' or ']'");
    return items;
  }
  function object(depth: number): Map<string, StrictJson> {
    const members = new Map<string, StrictJson>();
    if (skip("}")) return members;
    do {
      match(SPACE);
      const key = string();
      if (members.has(key)) fail(`duplicate key ${JSON.stringify(key.slice(0, 60))}`);
      if (members.size >= maxKeys) fail(`more than ${maxKeys} keys`);
      if (!skip(":")) fail("expected ':'");
      members.set(key, value(depth));
    } while (skip(","));
    if (!skip("}")) fail("expected ',' or '}'");
    return members;
  }
  function value(depth: number): StrictJson {
    match(SPACE);
    const first = text[at];
    if (first === "{" || first === "[") {
      if (depth >= maxDepth) fail(`more than ${maxDepth} levels`);
      at += 1;
      return first === "{" ? object(depth + 1) : array(depth + 1);
    }
    if (first === '"') return string();
    const number = match(NUMBER);
    if (number !== undefined) return INTEGER.test(number) ? BigInt(number) : Number(number);
    for (const [word, literal] of LITERALS) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return literal;
      }
    }
    fail("expected a value");
  }

  const result = value(0);
  match(SPACE);
  if (at !== text.length) fail("unexpected text");
  return result;
}
