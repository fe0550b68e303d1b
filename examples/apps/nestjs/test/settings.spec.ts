import { readSettings } from '../src/settings';

describe('settings', () => {
  it('has a default for everything', () => {
    expect(readSettings({})).toMatchObject({ port: 8080, metricsPort: 9464, failPercent: 0, leakMebibytesPerSecond: 0 });
  });

  it.each([
    ['PORT', 'http', '0 to 65535'],
    ['FAIL_PERCENT', '101', '0 to 100'],
    ['BLOCK_MS', '-1', '0 to 60000'],
    ['LEAK_MIB_PER_SECOND', 'NaN', '0 to 1024'],
  ])('%s=%s is refused, with what it may be', (name, value, range) => {
    expect(() => readSettings({ [name]: value })).toThrow(`${name} is "${value}": it must be a number from ${range}`);
  });
});
