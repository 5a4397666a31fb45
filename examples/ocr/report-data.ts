import type { LayerRow, QuantizeOnnxResult } from "../../lib/compress/job-types.js";
import type { QuantizeReportData, QuantizeReportLayer } from "../../lib/report/quantize-report.js";

/** What the report page draws, from what the job returned. */
export function reportData(model: string, result: QuantizeOnnxResult): QuantizeReportData {
  const { totals } = result;
  return {
    model,
    output: result.output,
    recipe: result.recipe,
    layers: result.rows.map(reportLayer),
    totals: {
      bytesBefore: totals.bytesBefore,
      bytesAfter: totals.bytesAfter,
      seconds: totals.seconds,
      calibrationSamples: totals.calibrationBatches,
      peakBytes: totals.peakBytes,
    },
    versions: result.environment,
    warnings: result.warnings,
  };
}

function reportLayer(row: LayerRow): QuantizeReportLayer {
  const { name, op, bytesBefore, bytesAfter } = row;
  const shape =
    row.groups === 1 ? [row.rows, row.columns] : [row.groups, row.rows / row.groups, row.columns];
  const base = { name, op, shape, bytesBefore, bytesAfter };
  if (row.status === "kept") return { ...base, method: "none", skipped: row.reason ?? "" };
  const { report } = row;
  return {
    ...base,
    method: report?.method ?? row.method,
    bits: row.bits,
    groupSize: row.groupSize,
    tokens: report?.tokens,
    relativeError: report?.relativeError,
    rtnRelativeError: report?.rtnRelativeError,
    damping: report?.damping,
    attempts: report?.attempts.length,
    rescued: report?.rescued,
    seconds: report === undefined ? undefined : report.milliseconds / 1000,
    warnings: report?.warnings,
  };
}
