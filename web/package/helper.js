// A thread that helps the one in worker.js: one of emscripten's pthreads. The messages are those of the JavaScript that
// emscripten 3.1.6 writes (its src/worker.js), taken up as a module so that browsers, bundlers and Node.js load it alike.
import { beWorkerOfBrowser } from './environment.js';

let module = null;
let loading = null;

async function load(data) {
  const { default: create } = await import(/* @vite-ignore */ /* webpackIgnore: true */ data.urlOrBlob);
  module = await create({
    wasmModule: data.wasmModule,
    wasmMemory: data.wasmMemory,
    buffer: data.wasmMemory.buffer,
    ENVIRONMENT_IS_PTHREAD: true,
    instantiateWasm(imports, receive) {
      receive(new WebAssembly.Instance(data.wasmModule, imports));
      return {};
    },
  });
}

function run(data) {
  // All threads go by the first one's clock.
  module.__performance_now_clock_drift = performance.now() - data.time;
  module.__emscripten_thread_init(data.threadInfoStruct, 0, 0, 1);
  module.establishStackSpace();
  module.PThread.receiveObjectTransfer(data);
  module.PThread.threadInit();
  try {
    const result = module.invokeEntryPoint(data.start_routine, data.arg);
    if (module.keepRuntimeAlive()) {
      module.PThread.setExitStatus(result);
    } else {
      module.__emscripten_thread_exit(result);
    }
  } catch (problem) {
    if (problem !== 'unwind') throw problem;
  }
}

async function receive({ data }) {
  if (data.cmd === 'load') {
    loading = load(data);
    return loading;
  }
  await loading;
  if (data.cmd === 'run') {
    run(data);
  } else if (data.cmd === 'processThreadQueue') {
    if (module._pthread_self()) module._emscripten_current_thread_process_queued_calls();
  } else if (data.cmd === 'processProxyingQueue') {
    if (module._pthread_self()) module._emscripten_proxy_execute_queue(data.queue);
  } else if (data.cmd === 'cancel') {
    if (module._pthread_self()) module.__emscripten_thread_exit(-1);
  }
}

// Before anything is waited for, so that no message is lost.
globalThis.onmessage = receive;
await beWorkerOfBrowser(import.meta.url);
