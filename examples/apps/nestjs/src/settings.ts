/** What the environment says. Every field has a default: the app starts without any. */
export interface Settings {
  /** Port of the app itself. */
  readonly port: number;
  /** Port of `/metrics`: apart by default, so that it is never exposed with the app; the same number as `port` puts it there. */
  readonly metricsPort: number;
  /** Answered in the header `x-version` and in the body. */
  readonly version: string;
  /** Answered in the body. */
  readonly pod: string;
  /** Percent of the requests that fail with 500. */
  readonly failPercent: number;
  /** Percent of the requests that block the event loop. */
  readonly blockPercent: number;
  /** For how many milliseconds each of them blocks it. */
  readonly blockMilliseconds: number;
  /** Memory taken each second and never given back, in MiB. */
  readonly leakMebibytesPerSecond: number;
}

/** Injection token of the settings. */
export const SETTINGS = Symbol('settings');

/** Reads the settings. Throws an error that names the variable and what it may be. */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const number = (name: string, fallback: number, most: number): number => {
    const text = environment[name];
    if (text === undefined || text.trim() === '') return fallback;
    const value = Number(text);
    if (!Number.isFinite(value) || value < 0 || value > most) {
      throw new Error(`${name} is ${JSON.stringify(text)}: it must be a number from 0 to ${most}`);
    }
    return value;
  };
  return {
    port: number('PORT', 8080, 65_535),
    metricsPort: number('METRICS_PORT', 9464, 65_535),
    version: environment['VERSION'] ?? '0',
    pod: environment['HOSTNAME'] ?? 'unknown',
    failPercent: number('FAIL_PERCENT', 0, 100),
    blockPercent: number('BLOCK_PERCENT', 0, 100),
    blockMilliseconds: number('BLOCK_MS', 0, 60_000),
    leakMebibytesPerSecond: number('LEAK_MIB_PER_SECOND', 0, 1024),
  };
}
