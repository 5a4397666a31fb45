/**
 * Every error osculate throws on purpose. One base class, one stable `code` each; `kind` groups them
 * for `catch` blocks and for the exit codes of the command line.
 *
 * Messages have one shape: "`fn`: expected {what} for {name} but received {value}".
 */

export type ErrorCode =
  | "ARGUMENT"
  | "SHAPE"
  | "DTYPE"
  | "DEVICE_UNAVAILABLE"
  | "UNSUPPORTED_ON_DEVICE"
  | "OUT_OF_MEMORY"
  | "NOT_POSITIVE_DEFINITE"
  | "NOT_CONVERGED"
  | "SINGULAR"
  | "NON_FINITE"
  | "NO_TOKENS"
  | "DISPOSED"
  | "RECIPE"
  | "FORMAT"
  | "BINDING"
  | "IO"
  | "LOCKED"
  | "ABORTED"
  | "INTERNAL";

/** Facts a program may want to read instead of parsing the message (indices, sizes, names). */
export type ErrorDetails = Readonly<Record<string, unknown>>;

export class OsculateError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: ErrorDetails; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.details = options.details ?? {};
  }
}

type Options = { details?: ErrorDetails; cause?: unknown };

/** A wrong value: range, type, unknown option. */
export class ArgumentError extends OsculateError {
  constructor(message: string, options?: Options) {
    super("ARGUMENT", message, options);
  }
}

/** Shapes that do not fit each other or the operation. */
export class ShapeError extends OsculateError {
  constructor(message: string, options?: Options) {
    super("SHAPE", message, options);
  }
}

/** A dtype the operation does not take. */
export class DTypeError extends OsculateError {
  constructor(message: string, options?: Options) {
    super("DTYPE", message, options);
  }
}

/** The device is missing, cannot run the kernel, or has no memory left. */
export class DeviceError extends OsculateError {
  constructor(
    code: "DEVICE_UNAVAILABLE" | "UNSUPPORTED_ON_DEVICE" | "OUT_OF_MEMORY",
    message: string,
    options?: Options,
  ) {
    super(code, message, options);
  }
}

/** The numbers do not allow the computation. `details` name the minor, the index or the residual. */
export class NumericalError extends OsculateError {
  constructor(
    code: "NOT_POSITIVE_DEFINITE" | "NOT_CONVERGED" | "SINGULAR" | "NON_FINITE" | "NO_TOKENS",
    message: string,
    options?: Options,
  ) {
    super(code, message, options);
  }
}

/** A tensor or handle was used after `dispose()`. */
export class DisposedError extends OsculateError {
  constructor(message: string, options?: Options) {
    super("DISPOSED", message, options);
  }
}

/** A recipe that cannot be read or does not fit the model. */
export class RecipeError extends OsculateError {
  constructor(message: string, options?: Options) {
    super("RECIPE", message, options);
  }
}

/** Bytes that are not what the format says. `details.reason` names the failed rule where there is one. */
export class FormatError extends OsculateError {
  constructor(message: string, options?: Options) {
    super("FORMAT", message, options);
  }
}

/** The native addon could not be loaded; `details.attempts` lists every try. */
export class BindingError extends OsculateError {
  constructor(message: string, options?: Options) {
    super("BINDING", message, options);
  }
}

/** A file could not be written or read (disk full, permissions); nothing half-written is left. */
export class IoError extends OsculateError {
  constructor(message: string, options?: Options) {
    super("IO", message, options);
  }
}

/** Another process works on the same output; `details.pid` and `details.host` name it. */
export class LockedError extends OsculateError {
  constructor(message: string, options?: Options) {
    super("LOCKED", message, options);
  }
}

/** The error of a call that a signal ended: code "ABORTED", the signal's reason as cause. */
export function abortError(fn: string, signal: AbortSignal): OsculateError {
  return new OsculateError("ABORTED", `${fn}: aborted`, { cause: signal.reason as unknown });
}

/** A short, safe rendering of any value for an error message. */
export function describe(value: unknown): string {
  if (typeof value === "string")
    return JSON.stringify(value.length > 60 ? value.slice(0, 57) + "..." : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (Array.isArray(value)) {
    return value.length > 8 ? `an array of ${value.length}` : `[${value.map(describe).join(", ")}]`;
  }
  if (value !== null && typeof value === "object") {
    const name = (value.constructor as { name?: string } | undefined)?.name;
    return ArrayBuffer.isView(value) && "length" in value
      ? `${name ?? "view"}(${String(value.length)})`
      : (name ?? "object");
  }
  return String(value);
}

/** Builds the one message shape. */
export function expected(fn: string, what: string, name: string, received: unknown): string {
  return `${fn}: expected ${what} for ${name} but received ${describe(received)}`;
}
