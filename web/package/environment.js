// What differs between a browser's workers and those of Node.js. Nothing here changes the page's or program's own
// globals: it is used inside workers only, each of which has its own.

export const inNode = typeof process === 'object' && typeof process.versions?.node === 'string' &&
  process.type !== 'renderer';

// A worker of Node.js that looks like one of a browser's.
export function workerOfNode(threads) {
  return class {
    constructor(url) {
      this.worker = new threads.Worker(new URL(url), { execArgv: [] });
      this.worker.on('message', (data) => this.onmessage?.({ data }));
      this.worker.on('error', (error) => this.onerror?.({ message: error.message, filename: String(url), lineno: 0, error }));
      this.worker.unref();  // it must not keep the program from ending
    }
    postMessage(message, transfer) { this.worker.postMessage(message, transfer); }
    terminate() { return this.worker.terminate(); }
  };
}

// Gives a worker of Node.js the names that a browser's has. `receive` gets the messages.
export async function beWorkerOfBrowser(url) {
  if (!inNode) return;
  const [threads, os] = await Promise.all([import(/* webpackIgnore: true */ 'node:worker_threads'),
                                           import(/* webpackIgnore: true */ 'node:os')]);
  globalThis.self = globalThis;
  globalThis.location = { href: url };
  Object.defineProperty(globalThis, 'navigator', {
    value: { hardwareConcurrency: os.availableParallelism() }, configurable: true, writable: true });
  globalThis.postMessage = (message, transfer) => threads.parentPort.postMessage(message, transfer);
  globalThis.importScripts = () => { throw new Error('expected no script to be imported'); };
  globalThis.Worker = workerOfNode(threads);
  threads.parentPort.on('message', (data) => globalThis.onmessage?.({ data }));
}
