// The thread that does the work: loads the module, answers one call after the other. Nothing here runs in the page's own
// thread, which may not wait and must stay quick.
import { beWorkerOfBrowser, inNode } from './environment.js';

const STATUS = ['ok', 'invalid_argument', 'cannot_read', 'cannot_write', 'invalid_model', 'invalid_image', 'out_of_memory',
                'memory_limit', 'cancelled', 'internal'];
const TYPES = { Uint8Array: 0, Uint8ClampedArray: 0, Int8Array: 1, Uint16Array: 2, Int16Array: 3, Uint32Array: 4, Int32Array: 5,
                BigUint64Array: 6, BigInt64Array: 7, Float32Array: 8, Float64Array: 9 };
const PRECISIONS = { f32: 0, bf16: 1, auto: 2 };
const COMPONENTS = { model: 0, none: 1, all: 2 };
const STAGES = ['prepare', 'segment', 'export', 'write'];

class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

let module = null;
let cancelled = null;  // shared with who called, where memory can be shared
let calling = 0;
let opened = [];       // memory and files of the image that is open

// ---- The module.

async function compiled(url) {
  if (inNode) {
    const { readFile } = await import(/* webpackIgnore: true */ 'node:fs/promises');
    return WebAssembly.compile(await readFile(new URL(url)));
  }
  const response = await fetch(url, { credentials: 'same-origin' });
  if (!response.ok) throw new Failure('cannot_read', `${url}: expected the WebAssembly module, found HTTP status ${response.status}`);
  // A plain server may not know the type of such files, which compileStreaming() insists on.
  const code = await response.arrayBuffer();
  const [first, second] = new Uint8Array(code, 0, 2);
  if (first !== 0x1f || second !== 0x8b) return WebAssembly.compile(code);
  // A page may have it gzipped, under the same name: a third of the download on servers that compress nothing themselves.
  return WebAssembly.compile(await new Response(new Blob([code]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer());
}

const PAGE = 65536;
const LARGEST = 65536;  // pages: 4 GiB

// The memory that threads share is the page's to make: as large as may be, since some systems do not give 4 GiB of
// addresses at once.
function sharedMemory() {
  for (const maximum of [LARGEST, LARGEST / 2, LARGEST / 4]) {
    try {
      return [new WebAssembly.Memory({ initial: 1024, maximum, shared: true }), maximum];
    } catch (problem) {
      if (!(problem instanceof RangeError)) throw problem;
    }
  }
  throw new Failure('out_of_memory', 'memory: expected the browser to give 1 GiB of addresses, found that it does not');
}

async function start(threads) {
  const threaded = threads > 1;
  const [{ default: create }, code] = threaded
    ? await Promise.all([import('./e2enet-threads.js'), compiled(new URL('./e2enet-threads.wasm', import.meta.url).href)])
    : await Promise.all([import('./e2enet.js'), compiled(new URL('./e2enet.wasm', import.meta.url).href)]);
  const settings = {
    e2enetMaximumBytes: LARGEST * PAGE,
    e2enetProgress: progress,
    instantiateWasm(imports, receive) {
      WebAssembly.instantiate(code, imports).then((instance) => receive(instance, code));
      return {};
    },
    print: () => {},
    printErr: (text) => console.error(text),
  };
  if (threaded) {
    const [wasmMemory, maximum] = sharedMemory();
    const HelperWorker = globalThis.Worker;
    Object.assign(settings, {
      wasmMemory,
      e2enetMaximumBytes: maximum * PAGE,
      e2enetHelpers: threads - 1,
      e2enetWorker: inNode ? HelperWorker : class extends HelperWorker {
        constructor(url) { super(url, { type: 'module', name: 'e2enet helper' }); }
      },
      locateFile: (name) => (name.endsWith('.worker.js') ? new URL('./helper.js', import.meta.url).href : name),
      mainScriptUrlOrBlob: new URL('./e2enet-threads.js', import.meta.url).href,
    });
  }
  module = await create(settings);
  // Where the images are is where names without a folder are looked for, so that messages have the names alone.
  for (const folder of ['/in', '/out']) module.FS.mkdir(folder);
  module.FS.chdir('/in');
}

// The module's memory moves when it grows: never kept over a call.
const bytes = () => (module.wasmMemory ? new Uint8Array(module.wasmMemory.buffer) : module.HEAPU8);

function allocated(count, what) {
  const at = module._malloc(count || 1) >>> 0;
  if (at === 0) {
    throw new Failure('out_of_memory', `no memory for ${what}: ${Math.ceil(count / 2 ** 20)} MiB more than the browser gives`);
  }
  return at;
}

function checkedBytes(what, ...factors) {
  const product = factors.reduce((all, one) => all * one, 1);
  if (!Number.isSafeInteger(product) || product < 0 || product >= 2 ** 31) {
    throw new Failure('out_of_memory', `${what}: expected at most 2 GiB, found ${(product / 2 ** 30).toFixed(1)} GiB: it is larger than ` +
                                       'a block of WebAssembly\'s memory can be');
  }
  return product;
}

function withMemory(run) {
  const blocks = [];
  const keep = (at) => { blocks.push(at); return at; };
  try {
    return run({
      copy(view, what) {
        const at = keep(allocated(view.byteLength, what));
        bytes().set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), at);
        return at;
      },
      block: (count, what) => keep(allocated(count, what)),
      text(string) {
        const encoded = new TextEncoder().encode(`${string}\0`);
        const at = keep(allocated(encoded.length, 'a text'));
        bytes().set(encoded, at);
        return at;
      },
      numbers(values) {
        if (!values) return 0;
        return this.copy(Float64Array.from(values), 'numbers');
      },
    });
  } finally {
    for (const at of blocks) module._free(at);
  }
}

function check(status) {
  if (status !== 0) throw new Failure(STATUS[status] ?? 'internal', module.UTF8ToString(module._web_error()));
}

function json(pointer) {
  if (pointer === 0) throw new Failure(STATUS[module._web_status()] ?? 'internal', module.UTF8ToString(module._web_error()));
  return JSON.parse(module.UTF8ToString(pointer));
}

function progress(stage, done, total, secondsLeft) {
  postMessage({ id: calling, progress: { stage: STAGES[stage] ?? 'later', done, total, secondsLeft: secondsLeft < 0 ? null : secondsLeft } });
  return !(cancelled && Atomics.load(cancelled, 0) === calling);
}

// ---- Images.

function closeImage() {
  module._web_close_image();
  for (const one of opened.splice(0)) {
    if (typeof one === 'string') module.FS.unlink(one);
    else module._free(one);
  }
}

function openFiles(files) {
  // Paths of the files as their owner knows them, since messages have them.
  const paths = files.map(({ name, data }) => {
    const path = `/in/${name}`;
    module.FS.writeFile(path, data, { canOwn: true });
    opened.push(path);
    return path;
  });
  // Of a pair, the header and its voxels are one channel.
  const channels = paths.filter((path) => !/\.img(\.gz)?$/i.test(path) || files.length === 1);
  withMemory((memory) => {
    const pointers = Uint32Array.from(channels, (path) => memory.text(path.slice('/in/'.length)));
    check(module._web_open_files(memory.copy(pointers, 'names'), channels.length));
  });
}

function openArrays({ channels, shape, spacing, affine, name }) {
  const [i, j, k] = shape;
  withMemory((memory) => {
    const pointers = new Uint32Array(channels.length);
    const types = new Int32Array(channels.length);
    channels.forEach((array, channel) => {
      const type = TYPES[array.constructor.name];
      checkedBytes(name, i, j, k, array.BYTES_PER_ELEMENT);
      const at = allocated(array.byteLength, name);
      opened.push(at);
      bytes().set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
      pointers[channel] = at;
      types[channel] = type;
    });
    check(module._web_open_arrays(memory.numbers([k, j, i]), memory.numbers(spacing && [...spacing].reverse()), memory.numbers(affine),
                                  memory.copy(pointers, 'channels'), memory.copy(types, 'types'), channels.length, memory.text(name)));
  });
}

function withImage(image, run) {
  try {
    if (image.files) openFiles(image.files);
    else openArrays(image);
    return run(json(module._web_image()));
  } finally {
    closeImage();
  }
}

// i, j, k of JavaScript, D, H, W of the library.
function boxOf(memory, box) {
  if (!box) return 0;
  return memory.numbers([...[...box.begin].reverse(), ...[...box.end].reverse()]);
}

// ---- What can be called.

const calls = {
  async load({ model, name, threads, options, flag }) {
    cancelled = flag ? new Int32Array(flag) : null;
    if (!module) {
      await start(threads);
    }
    const now = new Float64Array(3);
    withMemory((memory) => {
      const at = memory.block(24, 'numbers');
      module._web_memory(at);
      now.set(new Float64Array(bytes().slice(at, at + 24).buffer));
    });
    const limit = Math.min(options.memory ?? Infinity, now[2]);
    if (!model) return { result: { model: null, machine: json(module._web_machine()), memory: limit } };
    withMemory((memory) => {
      check(module._web_load(memory.copy(model, 'the model'), model.byteLength, memory.text(name), threads, PRECISIONS[options.precision],
                             options.step, options.mirror ? 1 : 0, COMPONENTS[options.largestComponent],
                             options.allowImplausibleSpacing ? 1 : 0, limit));
    });
    return { result: { model: json(module._web_model()), machine: json(module._web_machine()), memory: limit } };
  },

  inspect({ image }) {
    return { result: withImage(image, (found) => found) };
  },

  read({ image, channel }) {
    return withImage(image, (found) => {
      const count = checkedBytes('the image', found.voxels, 4);
      const voxels = new Float32Array(found.voxels);
      const [i, j, k] = found.geometry.shape;
      const slices = Math.max(1, Math.min(k, Math.floor(2 ** 24 / (4 * i * j))));
      withMemory((memory) => {
        const at = memory.block(slices * i * j * 4, 'slices of the image');
        for (let first = 0; first < k; first += slices) {
          const now = Math.min(slices, k - first);
          check(module._web_read(channel, first, now, at));
          voxels.set(new Float32Array(bytes().slice(at, at + now * i * j * 4).buffer), first * i * j);
        }
      });
      return { result: { ...found, voxels, bytes: count }, transfer: [voxels.buffer] };
    });
  },

  forecast({ image, box }) {
    return { result: withImage(image, () => withMemory((memory) => json(module._web_forecast(boxOf(memory, box))))) };
  },

  segment({ image, box, labels, nifti, meanIntensities }) {
    return withImage(image, (found) => withMemory((memory) => {
      const count = checkedBytes('the labels', found.voxels, 2);
      const at = labels ? memory.block(count, 'the labels') : 0;
      const file = nifti ? `/out/labels.${nifti}` : null;
      const report = json(module._web_segment(boxOf(memory, box), meanIntensities ? 1 : 0, at, file ? memory.text(file) : 0));
      const result = { report, image: found };
      const transfer = [];
      if (labels) {
        result.labels = new Uint16Array(bytes().slice(at, at + count).buffer);
        transfer.push(result.labels.buffer);
      }
      if (file) {
        result.nifti = module.FS.readFile(file);
        module.FS.unlink(file);
        transfer.push(result.nifti.buffer);
      }
      return { result, transfer };
    }));
  },

  bench({ runs, threads, precision }) {
    return { result: json(module._web_bench(runs, threads, PRECISIONS[precision])) };
  },

  memory() {
    return { result: withMemory((memory) => {
      const at = memory.block(24, 'numbers');
      module._web_memory(at);
      const [inUse, grown, most] = new Float64Array(bytes().slice(at, at + 24).buffer);
      return { inUse, grown, most };
    }) };
  },
};

let queue = Promise.resolve();
function receive({ data: { id, call, args } }) {
  queue = queue.then(async () => {
    calling = id;
    try {
      const { result, transfer } = await calls[call](args);
      postMessage({ id, result }, transfer ?? []);
    } catch (problem) {
      const known = problem instanceof Failure;
      const text = problem instanceof Error ? problem.message : String(problem);
      postMessage({ id, error: { code: known ? problem.code : 'internal', message: known ? text : `a defect of the library: ${text}` } });
    }
  });
}

globalThis.onmessage = receive;
await beWorkerOfBrowser(import.meta.url);
