// e2enet for JavaScript: docs/web.md. Everything runs in a worker; nothing is requested but the package's own files.
import { inNode } from './environment.js';

// What goes wrong. `code` is one of e2enet's: invalid_argument, cannot_read, cannot_write, invalid_model, invalid_image,
// out_of_memory, memory_limit, cancelled, internal.
export class E2enetError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'E2enetError';
    this.code = code;
  }
}

const invalid = (message) => new E2enetError('invalid_argument', message);
const GIB = 2 ** 30;
const MOST_THREADS = 32;  // each takes memory of its own, and a laptop has no more

// Whether several threads can share memory here: in a browser the page must be isolated (headers COOP and COEP).
export function isolated() {
  if (inNode) return true;
  return globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === 'function';
}

async function machine() {
  if (inNode) {
    const os = await import(/* webpackIgnore: true */ 'node:os');
    return { cores: os.availableParallelism(), memory: Math.min(4 * GIB, Math.floor(os.freemem() * 0.75)) };
  }
  // What the browser tells is rounded and at most 8 GiB or so; some do not tell, and then the module's own 4 GiB count.
  const gibibytes = globalThis.navigator?.deviceMemory;
  return { cores: globalThis.navigator?.hardwareConcurrency || 1, memory: gibibytes ? Math.min(4 * GIB, gibibytes * GIB * 0.75) : 4 * GIB };
}

async function newWorker() {
  if (inNode) {
    const threads = await import(/* webpackIgnore: true */ 'node:worker_threads');
    // Options of the program's own Node.js, as --input-type, are not for a worker's file.
    const worker = new threads.Worker(new URL('./worker.js', import.meta.url), { name: 'e2enet', execArgv: [] });
    return {
      post: (message, transfer) => worker.postMessage(message, transfer),
      listen(receive, fail) {
        worker.on('message', receive);
        worker.on('error', fail);
      },
      end: () => worker.terminate(),
      // Neither an idle segmenter nor its threads keep a program from ending.
      hold: () => worker.ref(),
      release: () => worker.unref(),
    };
  }
  const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'e2enet' });
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    listen(receive, fail) {
      worker.onmessage = ({ data }) => receive(data);
      worker.onerror = (event) => fail(new Error(event.message || 'the worker could not be started'));
      worker.onmessageerror = () => fail(new Error('a message of the worker cannot be read'));
    },
    end: () => worker.terminate(),
    hold() {},
    release() {},
  };
}

// ---- What callers give.

async function bytesOf(data, what) {
  if (typeof Blob === 'function' && data instanceof Blob) return new Uint8Array(await data.arrayBuffer());
  // Copies, since they are handed over to the worker and the caller's must stay his.
  if (data instanceof ArrayBuffer || (typeof SharedArrayBuffer === 'function' && data instanceof SharedArrayBuffer)) {
    return new Uint8Array(data).slice();
  }
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  throw invalid(`${what}: expected an ArrayBuffer, a typed array or a Blob, found ${data === null ? 'null' : typeof data}`);
}

function checkedName(name, bytes) {
  if (name === undefined) return bytes[0] === 0x1f && bytes[1] === 0x8b ? 'image.nii.gz' : 'image.nii';
  const last = String(name).split(/[/\\]/).pop();
  if (!last) throw invalid(`name: expected that of a file, found '${name}'`);
  return last;
}

const isArray = (data) => ArrayBuffer.isView(data) && !(data instanceof DataView);

function arraysOf(image) {
  const channels = Array.isArray(image.data) ? image.data : [image.data];
  const { shape, spacing, affine } = image;
  if (!Array.isArray(shape) || shape.length !== 3 || !shape.every((n) => Number.isInteger(n) && n > 0)) {
    throw invalid(`shape: expected three whole numbers above 0, found ${JSON.stringify(shape)}`);
  }
  const voxels = shape[0] * shape[1] * shape[2];
  for (const [at, data] of channels.entries()) {
    if (!isArray(data)) throw invalid(`data: expected a typed array for channel ${at}, found ${data === null ? 'null' : typeof data}`);
    if (data.length !== voxels) throw invalid(`data: expected ${voxels} voxels in channel ${at}, found ${data.length}`);
  }
  const numbers = (value, count, what) => {
    if (value === undefined) return null;
    const flat = [...value].flat();
    if (flat.length !== count || !flat.every(Number.isFinite)) throw invalid(`${what}: expected ${count} numbers, found ${JSON.stringify(value)}`);
    return flat;
  };
  const given = { spacing: numbers(spacing, 3, 'spacing'), affine: numbers(affine, 16, 'affine') };
  if (!given.spacing && !given.affine) throw invalid('expected a spacing or an affine, found neither');
  return { channels: channels.map((data) => data.slice()), shape: [...shape], ...given, name: image.name ? String(image.name) : 'image' };
}

// As the worker wants it, and what of it can be handed over without a copy.
async function imageOf(image) {
  if (image === null || typeof image !== 'object') throw invalid(`image: expected bytes or an object, found ${image === null ? 'null' : typeof image}`);
  if (isArray(image.data) || (Array.isArray(image.data) && isArray(image.data[0]))) {
    const arrays = arraysOf(image);
    return { image: arrays, transfer: arrays.channels.map((data) => data.buffer) };
  }
  const list = Array.isArray(image) ? image : image.files ?? [image];
  if (list.length === 0) throw invalid('image: expected at least one file, found none');
  const files = await Promise.all(list.map(async (file) => {
    const named = typeof file === 'object' && file !== null && 'bytes' in file;
    const data = await bytesOf(named ? file.bytes : file, 'image');
    return { name: checkedName(named ? file.name : file.name, data), data };
  }));
  const names = new Set(files.map((file) => file.name));
  if (names.size < files.length) throw invalid('image: expected files of different names, found two of one name');
  return { image: { files }, transfer: files.map((file) => file.data.buffer) };
}

function boxOf(box) {
  if (box === undefined) return null;
  const good = (corner) => Array.isArray(corner) && corner.length === 3 && corner.every(Number.isInteger);
  if (!good(box.begin) || !good(box.end)) throw invalid('box: expected {begin: [i, j, k], end: [i, j, k]}, found something else');
  return { begin: [...box.begin], end: [...box.end] };
}

const CHOICES = { precision: ['auto', 'f32', 'bf16'], largestComponent: ['model', 'none', 'all'] };

function optionsOf(options) {
  const known = { threads: 0, memory: undefined, precision: 'auto', step: 0.5, mirror: false, largestComponent: 'model',
                  allowImplausibleSpacing: false, name: 'model' };
  for (const key of Object.keys(options)) {
    if (!(key in known)) throw invalid(`option '${key}': expected one of ${Object.keys(known).join(', ')}`);
  }
  const chosen = { ...known };
  for (const [key, value] of Object.entries(options)) if (value !== undefined) chosen[key] = value;
  if (!Number.isInteger(chosen.threads) || chosen.threads < 0 || chosen.threads > MOST_THREADS) {
    throw invalid(`threads: expected a whole number from 0 to ${MOST_THREADS}, found ${chosen.threads}`);
  }
  if (chosen.memory !== undefined && !(Number.isFinite(chosen.memory) && chosen.memory > 0)) {
    throw invalid(`memory: expected bytes, above 0, found ${chosen.memory}`);
  }
  if (typeof chosen.step !== 'number') throw invalid(`step: expected a number, found ${typeof chosen.step}`);
  for (const [key, all] of Object.entries(CHOICES)) {
    if (!all.includes(chosen[key])) throw invalid(`${key}: expected one of ${all.join(', ')}, found '${chosen[key]}'`);
  }
  return chosen;
}

// ---- A model in a worker.

class Segmenter {
  #worker = null;
  #model = null;  // its bytes, for a worker that must be started anew
  #options;
  #threads;
  #flag = null;
  #calls = new Map();
  #next = 1;
  #starting = null;
  #closed = false;

  // What the model is: names and colours of labels, and model_json() of include/e2enet/json.h. Null where there is none.
  model = null;
  // {version, instruction_set}
  machine = null;
  // How many threads work, why not more where that is so, and the bytes that may be used.
  threads = 1;
  note = '';
  memory = 0;

  constructor(options, threads, note) {
    this.#options = options;
    this.#threads = threads;
    this.note = note;
  }

  async #started() {
    if (this.#closed) throw invalid('segmenter: expected one that is open, found one that was closed');
    this.#starting ??= this.#start();
    try {
      await this.#starting;
    } catch (problem) {
      this.#starting = null;
      throw problem;
    }
  }

  async #start() {
    const worker = await newWorker();
    this.#worker = worker;
    worker.listen((message) => this.#receive(message), (problem) => this.#fail(worker, problem));
    if (isolated()) this.#flag = new SharedArrayBuffer(4);
    const { model, machine: found, memory } = await this.#call('load', {
      model: this.#model, name: this.#options.name, threads: this.#threads, options: this.#options, flag: this.#flag });
    this.machine = found;
    this.memory = memory;
    this.threads = this.#threads;
    this.model = model && describe(model);
  }

  #receive({ id, progress, result, error }) {
    const call = this.#calls.get(id);
    if (!call) return;
    if (progress) {
      try {
        call.progress?.(progress);
      } catch (problem) {  // what the caller's function throws ends the work, and is what comes out
        call.thrown = problem;
        this.#cancel(id, problem);
      }
      return;
    }
    this.#calls.delete(id);
    if (this.#calls.size === 0) this.#worker?.release();
    if (call.thrown) call.reject(call.thrown);
    else if (error) call.reject(new E2enetError(error.code, error.message));
    else call.resolve(result);
  }

  // The worker is lost: with it all that it had to do. The next call starts another.
  #fail(worker, problem) {
    if (worker !== this.#worker) return;
    worker.end();
    this.#worker = null;
    this.#starting = null;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    const error = problem instanceof E2enetError ? problem : new E2enetError('internal', `the worker ended: ${problem.message}`);
    for (const call of calls) call.reject(call.thrown ?? error);
  }

  // Within one tile where memory is shared; where it is not, the worker cannot be told and is ended.
  #cancel(id, reason) {
    if (!this.#calls.has(id)) return;
    if (this.#flag) Atomics.store(new Int32Array(this.#flag), 0, id);
    else this.#fail(this.#worker, reason instanceof E2enetError ? reason : new E2enetError('cancelled', 'cancelled by the caller'));
  }

  #call(name, args, transfer = [], progress = null, signal = null) {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      const abort = () => this.#cancel(id, new E2enetError('cancelled', 'cancelled by the caller'));
      const done = (settle) => (value) => {
        signal?.removeEventListener('abort', abort);
        settle(value);
      };
      this.#calls.set(id, { resolve: done(resolve), reject: done(reject), progress });
      signal?.addEventListener('abort', abort);
      this.#worker.hold();
      this.#worker.post({ id, call: name, args }, transfer);
    });
  }

  async #withImage(name, image, args, options = {}) {
    const { signal, onProgress } = options;
    const given = await imageOf(image);
    const refuseCancelled = () => {
      if (signal?.aborted) throw new E2enetError('cancelled', 'cancelled by the caller');
    };
    refuseCancelled();
    await this.#started();
    refuseCancelled();
    return this.#call(name, { image: given.image, ...args }, given.transfer, onProgress, signal);
  }

  // Starts the worker where there is none.
  async ready() {
    await this.#started();
    return this;
  }

  // Another model, in the worker that is there. Where it is refused, there is none.
  async use(model, { name = 'model' } = {}) {
    const bytes = await bytesOf(model, 'model');
    await this.#started();
    this.#model = null;
    this.model = null;
    const found = await this.#call('load', { model: bytes, name, threads: this.#threads, options: this.#options, flag: this.#flag });
    this.#model = bytes;
    this.#options = { ...this.#options, name };
    this.model = describe(found.model);
    return this;
  }

  // Of the header alone: {geometry, remarks, channels, voxels}.
  inspect(image) { return this.#withImage('inspect', image, {}); }

  // The voxels of a channel as Float32Array, i fastest, beside what inspect() gives.
  read(image, { channel = 0 } = {}) { return this.#withImage('read', image, { channel }); }

  // How segment() would do it and what it takes; the network runs twice on noise the first time.
  async forecast(image, { box } = {}) { return this.#withImage('forecast', image, { box: boxOf(box) }); }

  async segment(image, { box, labels = true, nifti = 'nii.gz', meanIntensities = false, onProgress, signal } = {}) {
    if (![false, 'nii', 'nii.gz'].includes(nifti)) throw invalid(`nifti: expected 'nii.gz', 'nii' or false, found '${nifti}'`);
    const found = await this.#withImage('segment', image, { box: boxOf(box), labels, nifti, meanIntensities }, { onProgress, signal });
    const { report, image: header } = found;
    return { labels: found.labels, nifti: found.nifti, geometry: header.geometry, statistics: report.labels, asymmetry: report.asymmetry ?? [],
             remarks: report.remarks, report };
  }

  // For measurements: seconds of runs of the bare network on noise, and what memory the module has.
  async bench({ runs = 3, precision = 'f32' } = {}) {
    await this.#started();
    return this.#call('bench', { runs, threads: this.#threads, precision });
  }
  async memoryInUse() {
    await this.#started();
    return this.#call('memory', {});
  }

  // Ends the worker and gives its memory back; what still runs is cancelled.
  close() {
    this.#closed = true;
    if (this.#worker) this.#fail(this.#worker, new E2enetError('cancelled', 'the segmenter was closed'));
  }
}

function describe(model) {
  const labels = Object.entries(model.label_names).map(([value, name]) => ({ value: Number(value), name, color: model.label_colors[value] ?? [0, 0, 0] }));
  return { labels, channels: model.input_channels, parameters: model.parameters, patch: model.patch, json: model };
}

// A worker without a model: it reads images, and segments them once it has one (use()).
export async function start(options = {}) {
  const chosen = optionsOf(options);
  const here = await machine();
  let threads = chosen.threads || Math.min(here.cores, MOST_THREADS);
  let note = '';
  if (threads > 1 && !isolated()) {
    note = `One thread of ${threads}: this page is not isolated from others (the headers Cross-Origin-Opener-Policy and ` +
           'Cross-Origin-Embedder-Policy are missing), so threads cannot share memory.';
    threads = 1;
  }
  threads = Math.min(threads, Math.max(1, here.cores));
  chosen.memory ??= here.memory;
  const segmenter = new Segmenter(chosen, threads, note);
  try {
    return await segmenter.ready();
  } catch (problem) {
    segmenter.close();
    throw problem;
  }
}

// Loads the bytes of a model file into a worker of its own.
export async function load(model, options = {}) {
  const segmenter = await start(options);
  try {
    return await segmenter.use(model, { name: options.name });
  } catch (problem) {
    segmenter.close();
    throw problem;
  }
}
