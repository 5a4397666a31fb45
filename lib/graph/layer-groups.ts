/** The part of a layer that calibration looks at; `QuantizableLayer` has it. */
export interface CalibratedLayer {
  readonly name: string;
  /** The activation tensor that feeds it. */
  readonly inputName: string;
}

/** Layers with the same input tensor: they share its statistics and are quantized together. */
export interface LayerGroup<L extends CalibratedLayer = CalibratedLayer> {
  readonly inputName: string;
  readonly layers: readonly L[];
}

/**
 * Groups layers by their input, in the order in which each input is first used. With layers in the
 * order of the graph, a group depends on layers of earlier groups only.
 */
export function groupLayers<L extends CalibratedLayer>(layers: Iterable<L>): LayerGroup<L>[] {
  const groups = new Map<string, L[]>();
  for (const layer of layers) {
    const group = groups.get(layer.inputName);
    if (group) group.push(layer);
    else groups.set(layer.inputName, [layer]);
  }
  return Array.from(groups, ([inputName, members]) => ({ inputName, layers: members }));
}
