/** What the HTML report shows of a finished job. */
import type { LayerRow, QuantizeOnnxResult } from "../compress/job-types.js";
import type { QuantizeReportData, QuantizeReportLayer } from "../report/quantize-report.js";

function reportLayer(row: LayerRow): QuantizeReportLayer {
  const { name, op, rows, columns, bytesBefore, bytesAfter, report } = row;
  const base = { name, op, shape: [rows, columns], bytesBefore, bytesAfter };
  if (row.status === "kept") return { ...base, method: "none", skipped: row.reason ?? "" };
  return {
    ...base,
    method: report?.method ?? row.method,
    bits: row.bits,
    groupSize: row.groupSize,
    tokens: report?.tokens,
    relativeError: report?.relativeError,
    rtnRelativeError: report?.rtnRelativeError,
    damping: report?.dampPercent,
    attempts: report?.attempts.length,
    rescued: report?.rescued,
    seconds: report === undefined ? undefined : report.milliseconds / 1000,
    warnings: report?.warnings,
  };
}

export function reportData(result: QuantizeOnnxResult, modelName: string): QuantizeReportData {
  const { totals, warnings, recipe, environment, output } = result;
  return {
    model: modelName,
    output,
    recipe,
    layers: result.rows.map(reportLayer),
    totals: {
      bytesBefore: totals.bytesBefore,
      bytesAfter: totals.bytesAfter,
      seconds: totals.seconds,
      ...(totals.calibrationBatches === 0 ? {} : { calibrationSamples: totals.calibrationBatches }),
      peakBytes: totals.peakBytes,
    },
    versions: { ...environment, node: process.version },
    warnings,
  };
}
