// The page: what is chosen and shown. What computes is the package (./e2enet), in a worker.
import { start } from './e2enet/index.js';
import { csvOf, tablesOf } from './tables.js';

const $ = (id) => document.getElementById(id);
const MIB = 2 ** 20;

const state = {
  segmenter: null,  // of the package
  models: [],       // that are offered
  chosen: null,     // the model that was chosen last, ready or not
  dropped: null,    // the files that were chosen last, read or not
  model: null,      // that one once it is ready: {id, title, labels}
  image: null,      // {files: [{name, blob}], found, shown: a promise of its picture}
  result: null,
  running: null,    // AbortController of a segmentation
  finished: null,   // when it has ended, with its picture
  viewer: null,
  showing: Promise.resolve(),  // until the picture of the last scan was drawn
};

// ---- What is said.

function say(text) { $('status').textContent = text; }

function problem(text) {
  $('problem').hidden = !text;
  $('problem').textContent = text ?? '';
}

function sentence(error) {
  return error?.message ?? String(error);
}

function megabytes(bytes) { return `${(bytes / MIB).toFixed(bytes < 10 * MIB ? 1 : 0)} MB`; }

function duration(seconds) {
  if (seconds < 1.5) return 'a second';
  if (seconds < 90) return `${Math.round(seconds)} seconds`;
  return `${Math.round(seconds / 60)} minutes`;
}

function fillList(list, items) {
  list.replaceChildren(...items.map((text) => {
    const item = document.createElement('li');
    const warning = text.startsWith('warning: ');
    item.textContent = warning ? text.slice('warning: '.length) : text;
    if (warning) item.className = 'warning';
    return item;
  }));
}

// ---- Models.

function modelRow(model) {
  const row = document.createElement('label');
  row.className = 'model';
  const choice = document.createElement('input');
  choice.type = 'radio';
  choice.name = 'model';
  choice.value = model.id;
  const title = document.createElement('span');
  title.textContent = model.title;
  const text = document.createElement('small');
  text.textContent = `${model.text} ${megabytes(model.bytes)}.`;
  row.append(choice, title, text);
  choice.addEventListener('change', () => chooseModel(model));
  return row;
}

function suggest() {
  for (const mark of document.querySelectorAll('.suggested')) mark.remove();
  if (!state.image || state.model) return;
  const { shape, affine } = state.image.found.geometry;
  const longest = Math.max(...[0, 1, 2].map((axis) => shape[axis] * Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis])));
  for (const model of state.models.filter(({ field_mm: [least, most] }) => longest >= least && longest <= most)) {
    const mark = document.createElement('span');
    mark.className = 'suggested';
    mark.textContent = ' Fits this scan.';
    document.querySelector(`input[value="${model.id}"]`).closest('.model').querySelector('small').append(mark);
  }
}

// A model is loaded when it is chosen, and not before.
async function chooseModel(model, blob = null) {
  const chosen = { ...model };
  state.chosen = chosen;
  state.model = null;
  problem(null);
  state.running?.abort();
  updateButtons();
  $('model-status').textContent = 'Loading the model …';
  try {
    const bytes = blob ?? await fetchModel(model);
    const segmenter = await state.starting;
    // Whoever chooses again while a file is on its way means the later one, whichever comes first.
    if (state.chosen !== chosen) return;
    await segmenter.use(bytes, { name: model.title });
    if (state.chosen !== chosen) return;
    const { labels, parameters } = segmenter.model;
    state.model = Object.assign(chosen, { labels });
    $('model-status').textContent = `Ready: ${labels.length - 1} structures, ${(parameters / 1e6).toFixed(1)} million parameters.`;
    if (state.image && !state.running) say('Ready.');
    suggest();
    updateButtons();
    await segmentAtOnce();
  } catch (error) {
    if (state.chosen !== chosen) return;
    $('model-status').textContent = '';
    for (const choice of document.querySelectorAll('input[name=model]')) choice.checked = false;
    problem(sentence(error));
  }
}

async function fetchModel(model) {
  const response = await fetch(model.file);
  if (!response.ok) throw new Error(`${model.file}: expected the model, found HTTP status ${response.status}`);
  return response.blob();
}

// ---- Scans.

async function looksLikeDicom(file) {
  if (/\.dcm$/i.test(file.name) || /^dicomdir$/i.test(file.name)) return true;
  const head = new Uint8Array(await file.slice(128, 132).arrayBuffer());
  return String.fromCharCode(...head) === 'DICM';
}

async function chooseFiles(list) {
  const files = [...list];
  if (files.length === 0) return;
  state.dropped = files;
  state.running?.abort();
  problem(null);
  clearResult();
  $('image-remarks').replaceChildren();
  try {
    if ((await Promise.all(files.slice(0, 5).map(looksLikeDicom))).some(Boolean)) {
      throw new Error(`${files[0].name} is DICOM, which this page does not read: convert the series to NIfTI (dcm2niix does), or use the program ` +
                      'e2enet, which reads DICOM itself.');
    }
    if (files.length > 2) throw new Error(`Expected one NIfTI file, or .hdr and .img together, found ${files.length} files.`);
    const image = { files: files.map((file) => ({ name: file.name, blob: file })) };
    const segmenter = await state.starting;
    image.found = await segmenter.inspect(given(image));
    if (state.dropped !== files) return;  // others since
    // Voxels for the plain canvas come from the segmenter, before it has other work. NiiVue reads the file itself, and its picture may
    // take longer than the segmentation, where a processor draws it: neither waits for the other.
    const voxels = state.viewer.needsVoxels ? segmenter.read(given(image)) : null;
    voxels?.catch(() => {});  // comes out of show()
    image.shown = state.showing.then(() => state.viewer.show({ files: image.files, voxels }));
    state.showing = image.shown.catch(() => {});  // said below
    if (voxels) await image.shown;
    if (state.dropped !== files) return;
    state.image = image;
    $('empty').hidden = true;
    $('toolbar').hidden = false;
    const { geometry, remarks } = image.found;
    const name = image.files.map((file) => file.name).join(', ');
    $('image-status').textContent = `${name}: ${geometry.shape.join(' × ')} voxels of ${geometry.spacing.map((mm) => +mm.toFixed(2)).join(' × ')} mm, ` +
                                    `${geometry.orientation}.`;
    $('canvas').setAttribute('aria-label', `The scan ${name}`);
    fillList($('image-remarks'), remarks);
    say(state.model ? 'Ready.' : 'Choose a model.');
    suggest();
    updateButtons();
    await Promise.all([image.shown, segmentAtOnce()]);
  } catch (error) {
    if (state.dropped !== files) return;
    state.image = null;
    $('image-status').textContent = '';
    say('Choose a scan.');
    problem(sentence(error));
    updateButtons();
  }
}

const given = (image) => image.files.map(({ name, blob }) => ({ name, bytes: blob }));

// ---- Segmenting.

function updateButtons() {
  $('segment').disabled = !(state.model && state.image) || state.running !== null;
  $('segment').hidden = state.running !== null;
  $('cancel').hidden = state.running === null;
}

// What runs is of a model or a scan that was chosen before.
async function segmentAtOnce() {
  if (!$('at-once').checked) return;
  state.running?.abort();
  await state.finished;
  if (state.model && state.image && !state.running) await segment();
}

const STAGES = { prepare: 'Preparing the scan', segment: 'Segmenting', export: 'Bringing labels back to the scan', write: 'Writing the labels' };

function segment() {
  state.finished = segmentChosen();
  return state.finished;
}

async function segmentChosen() {
  const { image, model, segmenter } = state;
  const controller = new AbortController();
  state.running = controller;
  problem(null);
  clearResult();
  updateButtons();
  const bar = $('progress');
  bar.hidden = false;
  bar.removeAttribute('value');
  say('Planning …');
  let stage = '';
  const begin = performance.now();
  try {
    const result = await segmenter.segment(given(image), {
      meanIntensities: true,
      signal: controller.signal,
      onProgress(at) {
        if (at.total > 0) bar.value = (at.stage === 'segment' ? 0.03 + 0.9 * at.done / at.total : at.stage === 'prepare' ? 0.01 : 0.95);
        const left = at.stage === 'segment' && at.secondsLeft !== null && at.secondsLeft > 2 ? `, ${duration(at.secondsLeft)} left` : '';
        const text = `${STAGES[at.stage] ?? 'Working'}${left} …`;
        // A screen reader need not say each second.
        if (at.stage !== stage || left) $('status').textContent = text;
        stage = at.stage;
      },
    });
    if (controller.signal.aborted || state.image !== image) return;
    state.result = { ...result, model, image };
    await showResult(state.result, (performance.now() - begin) / 1000);
  } catch (error) {
    if (error?.code === 'cancelled') say('Cancelled.');
    else {
      say('Not segmented.');
      problem(explained(error));
    }
  } finally {
    if (state.running === controller) state.running = null;
    bar.hidden = true;
    updateButtons();
  }
}

// What the library says, and what to do where that is known.
function explained(error) {
  const text = sentence(error);
  if (error?.code === 'memory_limit' || error?.code === 'out_of_memory') {
    return `${text}. This browser gives the page ${megabytes(state.segmenter.memory)} at most. A smaller scan or a coarser one fits; the program e2enet has no such limit.`;
  }
  return text;
}

// ---- Results.

function clearResult() {
  state.result = null;
  $('results').hidden = true;
  state.viewer?.clearLabels();
}

// The voxel in the middle of the slice that has most of the labels: where there is something to see.
function busiestVoxel(labels, [ni, nj, nk]) {
  const counts = [new Float64Array(ni), new Float64Array(nj), new Float64Array(nk)];
  for (let k = 0, at = 0; k < nk; ++k) {
    for (let j = 0; j < nj; ++j) {
      for (let i = 0; i < ni; ++i, ++at) {
        if (labels[at] === 0) continue;
        counts[0][i] += 1; counts[1][j] += 1; counts[2][k] += 1;
      }
    }
  }
  return counts.map((count) => {
    const most = Math.max(...count);
    return most > 0 ? count.indexOf(most) : Math.floor(count.length / 2);
  });
}

// For tests: how often it was got to.
function count(what) {
  const { dataset } = document.documentElement;
  dataset[what] = String(Number(dataset[what] ?? 0) + 1);
}

// The table first, since it is there at once; then the picture.
async function showResult(result, seconds) {
  const { segmenter, viewer } = state;
  const table = result.model.labels;
  $('tables').replaceChildren(...tablesOf(result, table));
  fillList($('remarks'), result.remarks);
  const { report } = result;
  const threads = segmenter.threads === 1 ? 'one thread' : `${segmenter.threads} threads`;
  $('summary').textContent = `${result.model.title}, ${threads}, ${report.runs} runs of the network, ${seconds.toFixed(seconds < 10 ? 1 : 0)} s, ` +
                             `${megabytes(report.planned_peak_bytes)} of memory at most (${report.plan}, ${report.precision}).`;
  $('canvas').setAttribute('aria-label', `The scan ${result.image.files[0].name} with ${Object.keys(result.statistics).length} structures in colour`);
  $('results').hidden = false;
  count('tables');
  await new Promise((resolve) => { setTimeout(resolve); });  // lets the browser show it
  await result.image.shown;
  if (state.result !== result) return;
  await viewer.setLabels({ nifti: result.nifti, values: result.labels, labels: table });
  viewer.setOpacity(Number($('opacity').value));
  viewer.lookAt(busiestVoxel(result.labels, result.geometry.shape));
  const found = Object.values(result.statistics).filter((one) => one.voxels > 0).length;
  say(report.empty_image ? 'Done: the scan is empty.' : `Done: ${found} structures found. Their volumes are in the table.`);
  count('done');
}

// ---- Downloads: made here, of what is here.

function stem() {
  return state.result.image.files[0].name.replace(/(\.(nii|hdr|img))?(\.gz)?$/i, '') || 'scan';
}

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// ---- The page.

function setUpViewChoices() {
  $('views').replaceChildren(...state.viewer.views.map((name, n) => {
    const label = document.createElement('label');
    const choice = document.createElement('input');
    choice.type = 'radio';
    choice.name = 'view';
    choice.checked = n === 0;
    choice.addEventListener('change', () => state.viewer.setView(name));
    label.append(choice, name === 'All' ? (state.viewer.kind === 'webgl' ? 'Planes and 3D' : 'Three planes') : name);
    return label;
  }));
}

function hasWebGl() {
  try {
    const probe = document.createElement('canvas').getContext('webgl2');
    probe?.getExtension('WEBGL_lose_context')?.loseContext();
    return probe !== null;
  } catch {
    return false;
  }
}

async function openViewer() {
  const onLocation = ({ mm, label }) => { $('location').textContent = `${mm ? `${mm.join(', ')} mm` : ''}${label ? `: ${label}` : ''}`; };
  if (hasWebGl() && !new URLSearchParams(location.search).has('canvas')) {
    try {
      return await (await import('./viewer-webgl.js')).openViewer($('canvas'), onLocation);
    } catch (error) {
      console.warn(`The view in 3D cannot be shown: ${sentence(error)}`);
      // A canvas that WebGL has had gives no other kind of picture.
      $('canvas').replaceWith($('canvas').cloneNode());
    }
  }
  return (await import('./viewer-canvas.js')).openViewer($('canvas'), onLocation);
}

function setUpIsolation() {
  if (globalThis.crossOriginIsolated || !('serviceWorker' in navigator) || !globalThis.isSecureContext) return;
  $('isolate').hidden = false;
  $('isolate').addEventListener('click', async () => {
    await navigator.serviceWorker.register('isolation.js');
    await navigator.serviceWorker.ready;
    location.reload();
  });
}

function setUpEvents() {
  $('files').addEventListener('change', (event) => {
    chooseFiles(event.target.files);
    event.target.value = '';
  });
  $('own-model').addEventListener('change', (event) => {
    const [file] = event.target.files;
    event.target.value = '';
    if (!file) return;
    for (const choice of document.querySelectorAll('input[name=model]')) choice.checked = false;
    chooseModel({ id: 'own', title: file.name }, file);
  });
  // Anywhere on the page: a file that is dropped beside the box would otherwise replace the page.
  let inside = 0;
  addEventListener('dragenter', () => { inside += 1; document.body.classList.add('over'); });
  addEventListener('dragleave', () => { if (--inside <= 0) document.body.classList.remove('over'); });
  addEventListener('dragover', (event) => event.preventDefault());
  addEventListener('drop', (event) => {
    event.preventDefault();
    inside = 0;
    document.body.classList.remove('over');
    chooseFiles(event.dataTransfer.files);
  });
  $('segment').addEventListener('click', segment);
  $('cancel').addEventListener('click', () => state.running?.abort());
  $('opacity').addEventListener('input', (event) => state.viewer.setOpacity(Number(event.target.value)));
  $('save-labels').addEventListener('click', () => save(new Blob([state.result.nifti], { type: 'application/gzip' }), `${stem()}_labels.nii.gz`));
  $('save-table').addEventListener('click', () => save(new Blob([csvOf(state.result)], { type: 'text/csv' }), `${stem()}_volumes.csv`));
  $('save-picture').addEventListener('click', async () => save(await state.viewer.picture(), `${stem()}_labels.png`));
}

async function main() {
  setUpEvents();
  setUpIsolation();
  // Only to try what a browser with less would do: megabytes that the page may have, threads.
  const wanted = new URLSearchParams(location.search);
  const options = { memory: wanted.has('memory') ? Number(wanted.get('memory')) * MIB : undefined, threads: Number(wanted.get('threads') ?? 0) };
  state.starting = start(options).then((segmenter) => {
    state.segmenter = segmenter;
    $('machine').textContent = segmenter.note || (segmenter.threads === 1 ? 'One thread.' : `${segmenter.threads} threads.`);
    return segmenter;
  });
  try {
    const [models, viewer] = await Promise.all([fetch('models.json').then((response) => response.json()), openViewer(), state.starting]);
    state.models = models;
    state.viewer = viewer;
    $('model-list').replaceChildren(...models.map(modelRow));
    setUpViewChoices();
    document.documentElement.dataset.ready = 'true';
  } catch (error) {
    problem(`This page cannot start here: ${sentence(error)}`);
  }
}

main();
