// The package in Node.js: node --test web/tests/test_package.mjs
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { after } from 'node:test';
import { pathToFileURL } from 'node:url';
import zlib from 'node:zlib';
import { colin27, differences, haveShared, makeNifti, modelBytes, needShared, packageFolder, parseNifti, quick, segmentNatively, sharedImages, skipOr, tooLong } from './support.mjs';

const { load, start, isolated, E2enetError } = await import(pathToFileURL(path.join(packageFolder, 'index.js')).href);

const open = new Set();
async function loaded(model, options) {
  const segmenter = await load(modelBytes(model), { name: model, ...options });
  open.add(segmenter);
  return segmenter;
}
after(() => { for (const segmenter of open) segmenter.close(); });

const failure = (code, ...words) => (error) => {
  assert.ok(error instanceof E2enetError, `expected an E2enetError, found ${error}`);
  assert.equal(error.code, code, error.message);
  for (const word of words) assert.match(error.message, word);
  assert.ok(!error.message.includes('\n'), `expected one line, found ${error.message}`);
  return true;
};

function assertEqualsNative(found, native, what) {
  assert.equal(differences(found.labels, native.values), 0, `${what}: labels`);
  assert.equal(differences(parseNifti(found.nifti).values, native.values), 0, `${what}: labels in the file`);
  assert.deepEqual(parseNifti(found.nifti).bytes, native.bytes[0] === 0x1f ? zlib.gunzipSync(native.bytes) : native.bytes, `${what}: bytes of the file`);
  for (const [value, one] of Object.entries(native.statistics.labels)) {
    assert.equal(found.statistics[value].voxels, one.voxels, `${what}: voxels of label ${value}`);
    assert.equal(found.statistics[value].ml, one.ml, `${what}: mL of label ${value}`);
  }
}

for (const threads of [1, 2]) {
  test(`five real scans have the native program's labels, bit for bit, with ${threads} thread(s)`,
       { skip: skipOr(haveShared, `five real scans, ${threads} threads`, needShared) || skipOr(!quick || threads > 1, `five real scans, ${threads} threads`, tooLong) }, async () => {
    for (const [model, kind, count] of [['hippocampus_density20', 'hippocampus', 3], ['brain_density20', 'brain', 2]]) {
      const segmenter = await loaded(model, { threads });
      assert.equal(segmenter.threads, Math.min(threads, os.availableParallelism()));
      for (const image of sharedImages(kind, count)) {
        const found = await segmenter.segment({ bytes: readFileSync(image), name: path.basename(image) });
        assertEqualsNative(found, segmentNatively(model, image), path.basename(image));
      }
      segmenter.close();
    }
  });
}

test('a box of the Colin27 head has the native program\'s labels, with both numbers of threads', async () => {
  const native = segmentNatively('hippocampus_density20', colin27(), ['--roi', '97:135,80:132,40:88']);
  for (const threads of [1, 2]) {
    const segmenter = await loaded('hippocampus_density20', { threads });
    const found = await segmenter.segment(readFileSync(colin27()), { box: { begin: [97, 80, 40], end: [135, 132, 88] } });
    assertEqualsNative(found, native, `${threads} threads`);
    assert.ok(found.statistics[1].voxels > 500);
    segmenter.close();
  }
});

test('labels are written with the intent that says labels, and the image\'s place', async () => {
  const segmenter = await loaded('hippocampus_density20', { threads: 2 });
  const head = parseNifti(readFileSync(colin27()));
  const found = await segmenter.segment(readFileSync(colin27()), { box: { begin: [97, 80, 40], end: [135, 132, 88] }, nifti: 'nii' });
  const file = parseNifti(found.nifti);
  assert.equal(found.nifti[0], 0x5c, 'not compressed');
  assert.equal(file.intent, 1002);
  assert.deepEqual(file.shape, head.shape);
  assert.deepEqual(file.affine, head.affine);
  assert.deepEqual(found.geometry.shape, head.shape);
});

test('arrays with an affine give the labels of the file that they come from', async () => {
  const segmenter = await loaded('hippocampus_density20', { threads: 2 });
  const head = parseNifti(readFileSync(colin27()));
  const box = { begin: [97, 80, 40], end: [135, 132, 88] };
  const ofFile = await segmenter.segment(readFileSync(colin27()), { box });
  const before = head.values.slice();
  const ofArray = await segmenter.segment({ data: head.values, shape: head.shape, affine: head.affine, spacing: [1, 1, 1] }, { box });
  assert.equal(differences(ofArray.labels, ofFile.labels), 0);
  assert.deepEqual(ofArray.statistics, ofFile.statistics);
  assert.equal(differences(before, head.values), 0, 'the caller\'s array stays as it was');
  const asFloats = await segmenter.segment({ data: [Float32Array.from(head.values)], shape: head.shape, affine: head.affine.flat() }, { box, nifti: false });
  assert.equal(differences(asFloats.labels, ofFile.labels), 0);
  assert.equal(asFloats.nifti, undefined);
});

test('voxels and geometry of an image are read without a model', async () => {
  const reader = await start();
  open.add(reader);
  const head = parseNifti(readFileSync(colin27()));
  const found = await reader.read(readFileSync(colin27()));
  assert.equal(reader.model, null);
  assert.deepEqual(found.geometry.affine, head.affine);
  assert.equal(differences(found.voxels, Float32Array.from(head.values)), 0);
  await assert.rejects(reader.segment(readFileSync(colin27())), failure('invalid_argument', /a model/));
  await reader.use(modelBytes('hippocampus_density20'));
  assert.equal(reader.model.labels.length, 3);
});

test('progress ascends, and an aborted segmentation ends soon and leaves the segmenter usable', async () => {
  const segmenter = await loaded('hippocampus_density20', { threads: 2, step: 0.2 });
  const controller = new AbortController();
  const seen = [];
  await assert.rejects(segmenter.segment(readFileSync(colin27()), {
    signal: controller.signal,
    onProgress(at) {
      seen.push(at);
      if (at.stage === 'segment' && at.done >= 1) controller.abort();
    },
  }), failure('cancelled'));
  const done = seen.filter((at) => at.stage === 'segment').map((at) => at.done);
  assert.ok(done.length > 0 && done.length < 40, `expected an end within some tiles, found ${done.length}`);
  assert.deepEqual(done, [...done].sort((a, b) => a - b));
  const found = await segmenter.segment(readFileSync(colin27()), { box: { begin: [97, 80, 40], end: [135, 132, 88] } });
  assert.ok(found.statistics[1].voxels > 500);
  await assert.rejects(segmenter.segment(readFileSync(colin27()), { signal: AbortSignal.abort() }), failure('cancelled'));
  await assert.rejects(segmenter.segment(readFileSync(colin27()), { onProgress() { throw new RangeError('mine'); } }), (error) => error instanceof RangeError && error.message === 'mine');
});

test('an image that does not fit is refused before any work, with what would do', async () => {
  const segmenter = await loaded('brain_density20', { threads: 2, memory: 300 * 2 ** 20 });
  const image = { bytes: makeNifti({ shape: [512, 512, 300], type: 2, bits: 8, data: Buffer.alloc(512 * 512 * 300, 1) }), name: 'large.nii' };
  const forecast = await segmenter.forecast(image);
  assert.equal(forecast.fits, false);
  assert.ok(forecast.smallest_limit_bytes > 300 * 2 ** 20);
  let progress = 0;
  await assert.rejects(segmenter.segment(image, { onProgress() { progress += 1; } }), failure('memory_limit', /large\.nii/, /expected at least \d+M/, /found 300M/));
  assert.equal(progress, 0);
});

test('volumes beyond 32 bits are refused, not wrapped', async () => {
  const segmenter = await loaded('hippocampus_density20', { threads: 2 });
  // 2000 x 2000 x 1100 labels of two bytes would be 105 MB where a size wraps.
  const file = makeNifti({ shape: [2000, 2000, 1100], type: 2, bits: 8 });
  const zipped = zlib.gzipSync(Buffer.concat([file, Buffer.alloc(2 ** 24)]));
  await assert.rejects(segmenter.segment({ bytes: zipped, name: 'huge.nii.gz' }), (error) => ['out_of_memory', 'memory_limit', 'cannot_read'].includes(error.code) && failure(error.code)(error));
  await assert.rejects(segmenter.segment({ bytes: makeNifti({ shape: [30000, 30000, 30000], type: 2, bits: 8 }), name: 'huge.nii' }), failure('cannot_read', /huge\.nii/, /cut short/));
  const found = await segmenter.segment(readFileSync(colin27()), { box: { begin: [97, 80, 40], end: [135, 132, 88] } });
  assert.ok(found.statistics[1].voxels > 500, 'and the next image is done');
});

test('broken files are refused with the file\'s name and what is wrong', async () => {
  const segmenter = await loaded('hippocampus_density20', { threads: 2 });
  const whole = readFileSync(colin27());
  await assert.rejects(segmenter.segment({ bytes: whole.subarray(0, whole.length / 2), name: 'half.nii.gz' }), failure('cannot_read', /^half\.nii\.gz:/, /cut short/));
  await assert.rejects(segmenter.segment({ bytes: Buffer.from('this is no image'), name: 'text.nii' }), failure('invalid_image', /^text\.nii:/));
  await assert.rejects(segmenter.segment({ bytes: new Uint8Array(0), name: 'empty.nii' }), failure('invalid_image', /^empty\.nii:/));
  const damaged = Buffer.from(whole);
  damaged[damaged.length >> 1] ^= 0xff;
  await assert.rejects(segmenter.segment({ bytes: damaged, name: 'damaged.nii.gz' }), (error) => /^damaged\.nii\.gz:/.test(error.message));
  await assert.rejects(load(Buffer.from('no model')), failure('invalid_model'));
  await assert.rejects(load(modelBytes('hippocampus_density20').subarray(0, 100000), { name: 'cut' }), failure('invalid_model', /cut/));
});

test('arguments that make no sense are refused', async () => {
  const segmenter = await loaded('hippocampus_density20', { threads: 2 });
  const data = new Float32Array(8);
  for (const [image, options, word] of [
    [null, {}, /image/], ['scan.nii', {}, /image/], [{ data, shape: [2, 2], affine: [] }, {}, /shape/], [{ data, shape: [2, 2, 3], spacing: [1, 1, 1] }, {}, /12 voxels/],
    [{ data, shape: [2, 2, 2] }, {}, /affine/], [{ data, shape: [2, 2, 2], spacing: [1, NaN, 1] }, {}, /spacing/], [new Uint8Array(10), { nifti: 'mgz' }, /nifti/],
    [new Uint8Array(10), { box: { begin: [0, 0], end: [1, 1, 1] } }, /box/], [[], {}, /file/],
  ]) {
    await assert.rejects(segmenter.segment(image, options), failure('invalid_argument', word));
  }
  await assert.rejects(segmenter.segment(readFileSync(colin27()), { box: { begin: [0, 0, 0], end: [5000, 10, 10] } }), failure('invalid_argument', /box/));
  for (const options of [{ threads: -1 }, { threads: 1.5 }, { memory: 0 }, { precision: 'f16' }, { thread: 2 }, { largestComponent: 'some' }, { step: 'x' }]) {
    await assert.rejects(load(modelBytes('hippocampus_density20'), options), failure('invalid_argument'));
  }
  await assert.rejects(load(modelBytes('hippocampus_density20'), { step: 2 }), failure('invalid_argument', /step/));
});

test('ten images in a row take no more memory than the first two', async () => {
  const segmenter = await loaded('hippocampus_density20', { threads: 2 });
  const box = { begin: [97, 80, 40], end: [135, 132, 88] };
  let after2 = null;  // what a thread or a message takes for itself may come and go; an image's or its labels' bytes may not
  for (let n = 0; n < 10; ++n) {
    await segmenter.segment(readFileSync(colin27()), { box });
    if (n === 1) after2 = await segmenter.memoryInUse();
  }
  const after10 = await segmenter.memoryInUse();
  assert.ok(after10.inUse <= after2.inUse + 1024, `expected at most ${after2.inUse} bytes, found ${after10.inUse}`);
  assert.equal(after10.grown, after2.grown);
});

test('memory grows to what the plan says, and to little more', async () => {
  const segmenter = await loaded('hippocampus_density20', { threads: 2 });
  const { report } = await segmenter.segment(readFileSync(colin27()), { box: { begin: [97, 80, 40], end: [135, 132, 88] } });
  const { grown } = await segmenter.memoryInUse();
  // The plan counts bytes in use; holes between blocks come on top. It was made a little before the report's.
  const [least, most] = [report.planned_peak_bytes - 2 ** 20, report.planned_peak_bytes + 16 * 2 ** 20];
  assert.ok(grown >= least && grown <= most, `expected ${least} to ${most} bytes, found ${grown}`);
});

test('a program ends by itself while a segmenter is open and idle', () => {
  const code = `import { load } from ${JSON.stringify(pathToFileURL(path.join(packageFolder, 'index.js')).href)};
    import { readFileSync } from 'node:fs';
    const segmenter = await load(readFileSync('models/hippocampus_density20.safetensors'), { threads: 2 });
    console.log(segmenter.threads);`;
  const out = execFileSync(process.execPath, ['--input-type=module', '--eval', code], { encoding: 'utf8', timeout: 60000 });
  assert.equal(out.trim(), String(Math.min(2, os.availableParallelism())));
});

test('closing rejects what still runs', async () => {
  const segmenter = await load(modelBytes('hippocampus_density20'), { threads: 2 });
  const running = segmenter.segment(readFileSync(colin27()));
  setTimeout(() => segmenter.close(), 300);
  await assert.rejects(running, failure('cancelled'));
  await assert.rejects(segmenter.segment(readFileSync(colin27())), failure('invalid_argument', /closed/));
});

test('Node.js counts as isolated', () => assert.equal(isolated(), true));
