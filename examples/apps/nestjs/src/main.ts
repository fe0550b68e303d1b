import { start } from './bootstrap';
import { readSettings } from './settings';

async function main(): Promise<void> {
  const running = await start(readSettings(process.env));
  // Not Nest's own hooks: they end the process by the signal, with requests and spans still on their way. This one ends by itself, with code 0.
  process.once('SIGTERM', () => {
    running.stop().catch((error: unknown) => {
      console.error(error);
      process.exit(1);
    });
  });
}

main().catch((error: unknown) => {
  // Kubernetes shows the last lines of stderr as the termination message.
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
