import type { NamedTensors } from "../formats/index.js";

const BASE = "base.";

/** @internal The state of an optimizer that works through another: the other's with `base.` before every name. */
export function joinState(own: NamedTensors, base: NamedTensors): NamedTensors {
  const named = <T>(map: ReadonlyMap<string, T>) =>
    Array.from(map, ([name, value]) => [BASE + name, value] as const);
  return {
    tensors: new Map([...own.tensors, ...named(base.tensors)]),
    metadata: new Map([...own.metadata, ...named(base.metadata)]),
  };
}

/** @internal The two states that `joinState` joined. */
export function splitState({ tensors, metadata }: NamedTensors): {
  readonly own: NamedTensors;
  readonly base: NamedTensors;
} {
  const part = <T>(map: ReadonlyMap<string, T>, base: boolean) =>
    new Map(
      [...map]
        .filter(([name]) => name.startsWith(BASE) === base)
        .map(([name, value]) => [base ? name.slice(BASE.length) : name, value] as const),
    );
  return {
    own: { tensors: part(tensors, false), metadata: part(metadata, false) },
    base: { tensors: part(tensors, true), metadata: part(metadata, true) },
  };
}
